"""Compression: bit for bit, at the size that the likelihood says."""

from functools import partial
from math import log

import pytest
import torch
from torch.optim import Adam

import pyrogen
from pyrogen.errors import ConfigError, DataError, RunError
from pyrogen.explicit import (
    MADE,
    VAE,
    VQVAE,
    BernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    Gaussian,
    GaussianLikelihood,
    PixelCNN,
)
from pyrogen.explicit.likelihoods import Likelihood
from pyrogen.explicit.mixture_likelihood import MixtureLikelihood, likelihood_for
from pyrogen.use import compress, decompress, grey_levels

BINARY, GREY = pyrogen.load("digits-binary"), pyrogen.load("digits")


def trained(model, data, steps=150):
    step = pyrogen.SVI(
        model.model, getattr(model, "guide", lambda *_: None), optim=partial(Adam, lr=5e-3), compile=False
    )
    for _ in pyrogen.fit(step, data.train, steps=steps, batch_size=128):
        pass
    return model


@pytest.mark.parametrize(("data", "kind"), [(BINARY, MADE), (GREY, MADE), (BINARY, PixelCNN)])
def test_an_autoregressive_model_codes_at_its_likelihood(data, kind):
    torch.manual_seed(0)
    likelihood = likelihood_for(data.space, 3)
    model = kind(data.shape, (32,), likelihood) if kind is MADE else kind(data.shape, 4, 2, likelihood)
    trained(model, data, 60)
    x = data.test.tensors()[0][:150]
    packed = compress(model, data.space, x)
    assert torch.equal(decompress(model, data.space, packed).long(), grey_levels(data.space, x))
    body = len(packed) - packed.index(b"\n") - 1
    levels = log(data.space.levels) * data.dims if data.space.levels else 0.0
    bits = float(levels * 150 - model.log_prob(x).detach().double().sum()) / log(2)
    assert 8 * body == pytest.approx(bits, rel=0.01, abs=64)


@pytest.mark.parametrize(
    ("data", "likelihood"),
    [
        (BINARY, BernoulliLikelihood()),
        (GREY, DiscretizedLogisticLikelihood(17)),
        (GREY, MixtureLikelihood(3, 17)),
        (GREY, GaussianLikelihood()),
    ],
)
def test_a_vae_codes_by_bits_back_at_its_elbo(data, likelihood: Likelihood):
    torch.manual_seed(0)
    model = trained(VAE(data.shape, latent=4, hidden=(32,), likelihood=likelihood), data)
    x = data.test.tensors()[0].repeat(4, 1, 1, 1)
    packed = compress(model, data.space, x)
    assert torch.equal(decompress(model, data.space, packed).long(), grey_levels(data.space, x))
    elbo = pyrogen.evaluate(model, data.test, k=1)["elbo"].value
    levels = log(data.space.levels) * data.dims if data.space.levels else 0.0
    bits, initial = (levels - elbo) / log(2) * len(x), 100 * 4 * 10
    size = 8 * (len(packed) - packed.index(b"\n") - 1)
    assert size < 1.01 * bits + initial
    if not isinstance(likelihood, GaussianLikelihood):  # whose cells at 0 and 1 have more than the density in [0, 1]
        assert size > 0.99 * bits


def test_a_vqvae_codes_its_tokens():
    torch.manual_seed(0)
    model = VQVAE(GREY.shape, codes=16, dim=4, width=8, prior_width=8, likelihood=GaussianLikelihood())
    x = GREY.test.tensors()[0][:30]
    packed = compress(model, GREY.space, x)
    found = decompress(model, GREY.space, packed)
    middles = (grey_levels(GREY.space, x) + 0.5) / 17
    expected = (model.reconstruct(middles) * 17).floor().clamp(0, 16)
    assert torch.equal(found.float(), expected)


def test_what_is_damaged_or_of_another_model_is_refused():
    model, other = (MADE(BINARY.shape, (8,), BernoulliLikelihood()) for _ in range(2))
    x = BINARY.test.tensors()[0][:5]
    packed = compress(model, BINARY.space, x)
    with pytest.raises(RunError, match="other weights"):
        decompress(other, BINARY.space, packed)
    start = packed.index(b"\n") + 1
    with pytest.raises(RunError, match="other data than were coded"):
        decompress(model, BINARY.space, packed[: start + 4] + b"\xff\x00\xff\x00" + packed[start + 8 :])
    for broken in (b"", packed[:-1], b"x" + packed, packed[: start // 2]):
        with pytest.raises(RunError, match="damaged"):
            decompress(model, BINARY.space, broken)


def test_models_and_data_that_cannot_be_compressed_are_refused():
    x = GREY.test.tensors()[0]
    with pytest.raises(ConfigError, match="a Gaussian cannot compress"):
        compress(Gaussian(GREY.shape), GREY.space, x)
    with pytest.raises(ConfigError, match="binary data or grey levels"):
        compress(MADE(GREY.shape, (8,)), pyrogen.load("digits-logit").space, x)
    with pytest.raises(ConfigError, match="no mass for compression"):
        compress(MADE(GREY.shape, (8,)), GREY.space, x)
    with pytest.raises(DataError, match="at least one"):
        compress(MADE(GREY.shape, (8,)), GREY.space, x[:0])
