"""Interpolation and altering, where the answer is known in closed form."""

import pytest
import torch
from helpers import points
from torch import nn

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.explicit import PPCA, VAE
from pyrogen.implicit import GAN
from pyrogen.measure.features.classifier import Classifier, LeNet
from pyrogen.reconstruction import PCA
from pyrogen.use import alter, encode, interpolate

X = points(200, 5)


class Curved(nn.Module):
    """Codes (r, φ) of the plane in polar coordinates: straight lines of data are geodesics."""

    def encode(self, x):
        return torch.stack([x.norm(dim=1), torch.atan2(x[:, 1], x[:, 0])], 1)

    def decode(self, z):
        return torch.stack([z[:, 0] * z[:, 1].cos(), z[:, 0] * z[:, 1].sin()], 1)


def test_linear_paths_of_a_linear_model_are_straight():
    model = PCA.from_data(X, 3)
    found = interpolate(model, X[:4], X[4:8], steps=5)
    assert found.codes.shape == (4, 5, 3)
    assert found.data.shape == (4, 5, 5)
    torch.testing.assert_close(found.data[:, 2], (found.data[:, 0] + found.data[:, 4]) / 2)
    torch.testing.assert_close(found.data[:, 0], model.reconstruct(X[:4]))


def test_spherical_paths_keep_the_norm():
    gan = GAN((5,), latent=8, hidden=(4,))
    a, b = (z / z.norm(dim=1, keepdim=True) for z in (points(6, 8), points(6, 8, seed=1)))
    found = interpolate(gan, a, b, steps=7, path="spherical", codes=True)
    torch.testing.assert_close(found.codes.norm(dim=2), torch.ones(6, 7))
    torch.testing.assert_close(found.codes[:, -1], b)
    same = interpolate(gan, a, a, path="spherical", codes=True)
    torch.testing.assert_close(same.codes, a[:, None].expand(-1, 9, -1))


def test_a_geodesic_of_polar_coordinates_is_a_straight_line():
    ends = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    found = interpolate(Curved(), ends[:1], ends[1:], steps=9, path="geodesic")
    expected = torch.lerp(ends[:1], ends[1:], torch.linspace(0, 1, 9)[:, None])
    assert (found.data[0] - expected).abs().max() < 0.03
    arc = interpolate(Curved(), ends[:1], ends[1:], steps=9).data[0]
    assert (arc - expected).abs().max() > 0.3


def test_the_likelihood_along_a_path():
    model = PPCA.from_data(X, 2)
    found = interpolate(model, X[:3], X[3:6], steps=4)
    values, kind = found.log_likelihood()
    assert kind == "exact"
    torch.testing.assert_close(values[1], model.log_prob(found.data[1]).detach().double())
    with pytest.raises(ConfigError, match="has no likelihood"):
        interpolate(PCA.from_data(X, 2), X[:3], X[3:6]).log_likelihood()


def test_altering_moves_codes_towards_the_mean_of_the_examples():
    model = PCA.from_data(X, 4)
    x, having, lacking = X[:5], X[5:50], X[50:90]
    torch.testing.assert_close(alter(model, x, having, alpha=0), model.reconstruct(x))
    target = model.decode(encode(model, having).mean(0, keepdim=True)).expand(5, -1)
    torch.testing.assert_close(alter(model, x, having), target)
    shift = having.mean(0) - lacking.mean(0)
    expected = model.reconstruct(x) + 0.5 * shift @ model.components.T @ model.components
    torch.testing.assert_close(alter(model, x, having, lacking, alpha=0.5), expected)


def test_what_cannot_be_interpolated_is_refused():
    vae = VAE((5,), latent=2, hidden=(4,))
    x = (X > 0).float()
    with pytest.raises(ConfigError, match="at least 2 points"):
        interpolate(vae, x[:2], x[2:4], steps=1)
    with pytest.raises(ConfigError, match="one shape"):
        interpolate(vae, x[:2], x[2:5])
    with pytest.raises(ConfigError, match="unknown path 'curved'"):
        interpolate(vae, x[:2], x[2:4], path="curved")
    with pytest.raises(ConfigError, match="GAN has no codes"):
        interpolate(GAN((5,), latent=2, hidden=(4,)), x[:2], x[2:4])
    with pytest.raises(ConfigError, match="at least one example"):
        alter(vae, x[:2], x[:0])


def test_the_confidence_along_a_path_is_the_greatest_class_probability():
    data = pyrogen.load("digits")
    x = data.test.tensors()[0]
    classifier = Classifier(LeNet(data.shape, 10), 0.1)
    found = interpolate(PCA.from_data(x, 5), x[:3], x[3:6], steps=4)
    confidence = found.confidence(classifier, data.space)
    assert confidence.shape == (3, 4)
    expected = classifier(data.space.to_comparable(found.data[2]))[1].exp().amax(1)
    torch.testing.assert_close(confidence[2], expected)
