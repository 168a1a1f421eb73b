"""Outliers: calibrated p-values, and scores whose order is known."""

import pytest
import torch
from helpers import points
from torch import nn

import pyrogen
from pyrogen.errors import ConfigError
from pyrogen.explicit import VAE, Gaussian, GaussianLikelihood
from pyrogen.implicit import GAN
from pyrogen.reconstruction import PCA
from pyrogen.use import conformal_p_values, default_scores, find_outliers
from pyrogen.use.outliers import Residual, code_lengths, scorer

DATA = pyrogen.load(points(900, 3).double().numpy())
X = DATA.train.tensors()[0]
MODEL = Gaussian.from_data(X, "full")


def test_conformal_p_values_count_the_calibration_data_at_least_as_strange():
    found = conformal_p_values(torch.tensor([0.0, 2.0, 2.5, 9.0]), torch.tensor([1.0, 3.0, 2.0, 4.0]))
    assert found.tolist() == [1.0, 0.8, 0.6, 0.2]


def test_false_alarms_are_as_frequent_as_they_say():
    draws = torch.Generator().manual_seed(0)
    alarms = []
    for _ in range(300):
        values, calibration = torch.randn(200, generator=draws), torch.randn(199, generator=draws)
        alarms.append(float((conformal_p_values(values, calibration) <= 0.05).double().mean()))
    assert sum(alarms) / 300 == pytest.approx(0.05, abs=0.005)


def test_planted_outliers_are_the_strangest_and_alone_below_the_false_discovery_rate():
    x = torch.cat([points(5, 3, seed=9) + 8, DATA.test.tensors()[0]])
    for score in ("likelihood", "typicality", "code"):
        model = PCA.from_data(X, 3) if score == "code" else MODEL
        found = find_outliers(model, DATA, x, score=score)
        assert sorted(found.strangest[:5].tolist()) == list(range(5))
        assert int((found.adjusted <= 0.3)[:5].sum()) == 5
        assert bool((found.adjusted >= found.p_values).all())
        assert found.p_values.min() > 0


def test_a_background_model_and_a_likelihood_of_ones_own():
    wide = Gaussian.from_data(3 * X, "full")
    ratio = find_outliers(MODEL, DATA, X[:50], score="ratio", background=wide)
    expected = wide.log_prob(X[:50]) - MODEL.log_prob(X[:50])
    torch.testing.assert_close(ratio.values, expected.detach().double())
    with pytest.raises(ConfigError, match="background"):
        find_outliers(MODEL, DATA, X[:50], score="ratio")


def test_constant_images_have_shorter_codes_than_noise():
    noise = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    lengths = code_lengths(torch.cat([torch.full((1, 1, 8, 8), 0.5), noise]))
    assert bool((lengths[0] < lengths[1:] / 2).all())
    assert lengths.shape == (4,)


def test_the_residual_is_what_lengths_do_not_explain_and_grows_outside_their_range():
    lengths = 50 + 10 * points(4000, 1)[:, 0].double()
    noise = points(4000, 1, seed=1)[:, 0].double()
    residual = Residual(7 + 3 * lengths + 2 * noise, lengths)
    inside = (lengths - 50).abs() < 15
    torch.testing.assert_close(
        residual(7 + 3 * lengths + 2 * noise, lengths)[inside], noise[inside], atol=0.1, rtol=0.05
    )
    explained = residual(7 + 3 * torch.tensor([20.0, 50.0, 90.0]), torch.tensor([20.0, 50.0, 90.0]))
    torch.testing.assert_close(explained, torch.tensor([3.0, 0.0, 6.0]), atol=0.3, rtol=0)
    same = Residual(noise, torch.full_like(noise, 5.0))  # one length of all
    assert torch.allclose(same(noise, torch.full_like(noise, 5.0)), (noise - noise.mean()) / noise.std())


def test_the_scores_that_a_model_has():
    digits = pyrogen.load("digits-binary")
    vae = VAE(digits.shape, latent=2, hidden=(8,))
    assert default_scores(vae, digits)[0] == "residual"
    assert default_scores(GAN((3,), latent=2, hidden=(4,)), DATA) == ["critic"]
    assert default_scores(PCA((3,), 2), DATA) == ["reconstruction", "code"]
    x = digits.test.tensors()[0][:40]
    pair = VAE(digits.shape, latent=2, hidden=(8,), likelihood=GaussianLikelihood())
    for model, score in ((vae, None), (vae, "reconstruction"), (pair, "code")):
        found = find_outliers(model, digits, x, score=score, k=2)
        assert found.values.shape == (40,)
        assert bool(((found.p_values > 0) & (found.p_values <= 1)).all())
    critic = scorer("critic", GAN((3,), latent=2, hidden=(4,)), DATA)
    assert critic(X[:4], None).shape == (4,)


def test_scores_that_a_model_does_not_have_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'typicality'"):
        find_outliers(MODEL, DATA, X, score="tipicality")
    with pytest.raises(ConfigError, match="no likelihood"):
        find_outliers(GAN((3,), latent=2, hidden=(4,)), DATA, X, score="likelihood")
    with pytest.raises(ConfigError, match="no critic"):
        find_outliers(MODEL, DATA, X, score="critic")
    with pytest.raises(ConfigError, match="needs images"):
        find_outliers(MODEL, DATA, X, score="complexity")
    with pytest.raises(ConfigError, match="no likelihood, codes, reconstruction or critic"):
        default_scores(nn.Identity(), DATA)
