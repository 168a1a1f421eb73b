"""Codes: encoders and decoders of every kind, a bare pair included."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import points

import pyrogen
from pyrogen import use
from pyrogen.errors import ConfigError
from pyrogen.explicit import CVAE, PPCA, VAE, VQVAE, Gaussian, Label, LadderVAE
from pyrogen.implicit import GAN
from pyrogen.pyro_tools.latents import LatentProgram
from pyrogen.reconstruction import PCA

X = points(1200, 4)


class Bare:
    """x | z ~ N(2z, 1), q(z | x) = N(x / 2, 0.1)."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(2 * z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.1).to_event(1))


def test_models_with_an_encoder_use_it():
    for model in (PCA.from_data(X, 2), PPCA.from_data(X, 2), VAE((4,), latent=2, hidden=(8,))):
        x = (X > 0).float() if isinstance(model, VAE) else X
        z = use.encode(model, x)
        torch.testing.assert_close(z, model.encode(x))
        torch.testing.assert_close(use.decode(model, z), model.decode(z))
        torch.testing.assert_close(use.reconstruct(model, x), model.decode(z))
        assert not z.requires_grad


def test_a_bare_pair_has_codes():
    z = use.encode(Bare(), X)
    torch.testing.assert_close(z, X / 2)
    torch.testing.assert_close(use.reconstruct(Bare(), X), X)
    drawn = use.encode(Bare(), X, draw=True, seed=1)
    assert torch.equal(drawn, use.encode(Bare(), X, draw=True, seed=1))
    assert (drawn - z).std() == pytest.approx(0.1, rel=0.05)
    with pytest.raises(ConfigError, match="like"):
        use.decode(Bare(), z)


def test_draws_are_codes_of_the_layer_that_is_decoded():
    x = (X[:40] > 0).float()
    torch.manual_seed(0)
    ladder = LadderVAE((4,), latents=(3, 2), hidden=(8, 8))
    program = LatentProgram(ladder, x)
    drawn = torch.stack([use.encode(ladder, x, draw=True, seed=seed) for seed in range(50)])
    assert drawn.shape == (50, 40, 3)
    assert use.reconstruct(ladder, x, draw=True).shape == x.shape
    means = torch.stack([program.encode(x)[:, 2:] for _ in range(50)])  # of z1, given draws of z2
    torch.testing.assert_close(drawn.mean((0, 1)), means.mean((0, 1)), atol=0.07, rtol=0)
    with pytest.raises(ConfigError, match="of 7 coordinates is none of the latent variables, which have z2 2, z1 3"):
        program.columns(7)


def test_side_information_is_given_to_what_takes_it():
    class Labelled(Bare):
        def model(self, x, y=None):
            super().model(x)

    models = (CVAE((4,), Label(3), hidden=(8,)), Labelled(), VAE((4,), hidden=(8,)), PCA((4,), 2), Bare())
    assert [use.needs_y(model) for model in models] == [True, True, False, False, False]


def test_what_has_no_codes_is_refused():
    gan = GAN((4,), latent=3, hidden=(8,))
    assert use.decode(gan, torch.zeros(5, 3)).shape == (5, 4)
    with pytest.raises(ConfigError, match="GAN has no codes"):
        use.encode(gan, X)
    with pytest.raises(ConfigError, match="Gaussian has no decoder"):
        use.decode(Gaussian((4,)), X)
    with pytest.raises(ConfigError, match="at least one row"):
        use.encode(PCA((4,), 2), X[:0])


def test_the_curve_of_a_bottleneck_falls_with_the_size_of_codes_and_pca_is_its_own_limit():
    data = pyrogen.load("digits")
    x = data.train.tensors()[0]
    curve = use.bottleneck_curve([PCA.from_data(x, 16), PCA.from_data(x, 2), PPCA.from_data(x, 4)], data)
    assert [point.size for point in curve] == [2, 4, 16]
    for point in curve:
        assert point.pca is not None
        assert point.error.value >= point.pca.value * (1 - 1e-4)
        if point.size != 4:
            assert point.error.value == pytest.approx(point.pca.value, rel=1e-4)
    assert curve[0].error.value > curve[1].error.value > curve[2].error.value
    with pytest.raises(ConfigError, match="discrete"):
        use.bottleneck_curve([VQVAE(data.shape, codes=8, dim=2, width=4, prior_width=4)], data)
    with pytest.raises(ConfigError, match="no codes"):
        use.bottleneck_curve([Gaussian.from_data(x, "diagonal")], data)
