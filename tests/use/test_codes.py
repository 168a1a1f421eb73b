"""Codes: encoders and decoders of every kind, a bare pair included."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import points

from pyrogen import use
from pyrogen.errors import ConfigError
from pyrogen.explicit import PPCA, VAE, Gaussian
from pyrogen.implicit import GAN
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


def test_what_has_no_codes_is_refused():
    gan = GAN((4,), latent=3, hidden=(8,))
    assert use.decode(gan, torch.zeros(5, 3)).shape == (5, 4)
    with pytest.raises(ConfigError, match="GAN has no codes"):
        use.encode(gan, X)
    with pytest.raises(ConfigError, match="Gaussian has no decoder"):
        use.decode(Gaussian((4,)), X)
    with pytest.raises(ConfigError, match="at least one row"):
        use.encode(PCA((4,), 2), X[:0])
