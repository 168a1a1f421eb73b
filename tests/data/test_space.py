"""The formulas of data spaces, and the noise that maps stored rows into them."""

from collections.abc import Callable
from math import log, sqrt

import pytest
import torch
from torch import Tensor

import pyrogen.data.noise.uniform as uniform_numbers
from pyrogen.data import Binarise, Dequantise, Space
from pyrogen.data.noise.uniform import Draws, Stream, uniform
from pyrogen.data.space import require_probability
from pyrogen.errors import ConfigError

DRAWS = pytest.mark.parametrize(
    "draws",
    [lambda: torch.Generator().manual_seed(1), lambda: Stream(torch.tensor(1), row=3)],
    ids=["generator", "stream"],
)
"""What noise is drawn from, made anew."""


def levels_once(levels: int) -> Tensor:
    """Return every grey level once, as one column of ``uint8``."""
    return torch.arange(levels).byte()[:, None]


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_bits_of_a_uniform_density(levels: int) -> None:
    bits = Space("unit", levels).bits_per_dim(torch.zeros(4), torch.rand(4, 1, 3, 3))
    assert torch.allclose(bits, torch.full((4,), log(levels) / log(2)))


def test_bits_of_a_mass_are_its_nats_over_log_2() -> None:
    bits = Space("binary").bits_per_dim(torch.full((2,), -6 * log(2)), torch.zeros(2, 6))
    assert torch.allclose(bits, torch.ones(2))


def test_the_logit_jacobian_is_that_of_autograd() -> None:
    space = Space("logit", levels=256)
    x = torch.rand(5, 7, dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(space.from_unit))(x)
    # A uniform density on [0, 1] has this density over the logits; it must cost 8 bits all the same.
    log_prob = -jacobian.diagonal(dim1=1, dim2=2).log().sum(1)
    bits = space.bits_per_dim(log_prob, space.from_unit(x))
    assert torch.allclose(bits, torch.full((5,), 8.0, dtype=torch.float64))


@pytest.mark.parametrize("support", ["unit", "logit"])
@pytest.mark.parametrize("levels", [2, 17, 256])
@DRAWS
def test_images_are_grey_levels_for_any_noise(support: str, levels: int, draws: Callable[[], Draws]) -> None:
    space = Space(support, levels)
    stored = levels_once(levels).expand(-1, 4096)
    x = Dequantise(space)(stored, draws())
    assert x.dtype == torch.float32
    assert torch.equal(space.to_user(x), stored / (levels - 1))


@pytest.mark.parametrize("support", ["unit", "logit"])
@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("word", [-(2**15), 2**15 - 1], ids=["least", "greatest"])
@DRAWS
def test_extreme_noise_does_not_change_the_level(
    support: str, levels: int, word: int, draws: Callable[[], Draws], monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = int.from_bytes(4 * word.to_bytes(2, "little", signed=True), "little", signed=True)
    monkeypatch.setattr(Tensor, "random_", lambda words, *_, **__: words.fill_(bits))
    monkeypatch.setattr(uniform_numbers, "split_mix", lambda key, first, n: torch.full((n,), bits))
    space, stored = Space(support, levels), levels_once(levels)
    u = uniform(stored.shape, draws(), bits=13)
    assert float(u.min()) == (2**-14 if word < 0 else 1 - 2**-14)
    x = Dequantise(space)(stored, draws())
    assert torch.equal(space.to_user(x), stored / (levels - 1))
    if support == "unit":
        assert x.min() > 0
        assert x.max() < 1


@DRAWS
def test_the_noise_is_uniform_and_independent(draws: Callable[[], Draws]) -> None:
    n = 400_000
    u = uniform(torch.Size([n]), draws(), bits=13)
    assert abs(u.mean() - 1 / 2) < 4 * sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 4 * sqrt(1 / 180 / n)
    counts = u.mul(64).long().bincount(minlength=64)
    assert ((counts - n / 64).square() / (n / 64)).sum() < 110  # the 0.9998 quantile of chi² with 63 degrees
    for lag in (1, 2, 3, 4):  # four draws share one random word
        assert abs(((u[lag:] - 0.5) * (u[:-lag] - 0.5)).mean()) < 4 / 12 / sqrt(n)


@DRAWS
def test_each_grey_level_is_the_probability_of_a_one(draws: Callable[[], Draws]) -> None:
    n = 20_000
    x = Binarise(255)(levels_once(256).expand(-1, n), draws())
    assert set(x.unique().tolist()) == {0.0, 1.0}
    mean, p = x.mean(1), torch.arange(256) / 255
    assert mean[0] == 0
    assert mean[255] == 1
    z = (mean - p)[1:-1] / (p * (1 - p) / n).sqrt()[1:-1]
    assert z.abs().max() < 4.5
    assert abs(z.square().mean() - 1) < 0.4


@pytest.mark.parametrize("noise", [Dequantise(Space("unit", 17)), Binarise(16)])
@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (1, 1, 1, 1), (3, 3, 5, 7)])
@DRAWS
def test_noise_depends_only_on_what_it_is_drawn_from(noise, shape: tuple[int, ...], draws: Callable[[], Draws]) -> None:
    stored = torch.full(shape, 5, dtype=torch.uint8)
    state = torch.get_rng_state()
    first, again = (noise(stored, draws()) for _ in range(2))
    assert first.shape == shape
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(stored, torch.full(shape, 5, dtype=torch.uint8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("noise", [Dequantise(Space("logit", 256)), Binarise(255)])
def test_noise_is_drawn_on_the_device_of_the_data(noise) -> None:
    stored = torch.randint(256, (64, 1, 28, 28), device="cuda").byte()
    x = noise(stored, torch.Generator("cuda").manual_seed(0))
    assert x.device == stored.device
    if isinstance(noise, Dequantise):
        assert torch.equal(noise.space.to_user(x), stored / 255)
    else:
        assert abs(float((x - stored / 255).mean())) < 0.01


def test_images_of_the_other_spaces() -> None:
    x = torch.tensor([[-0.5, 0.2, 0.7, 3.0]])
    assert torch.equal(Space("binary").to_user(x), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    assert torch.equal(Space("unit").to_user(x), torch.tensor([[0.0, 0.2, 0.7, 1.0]]))
    assert torch.equal(Space("real").to_user(x), x)


def test_a_density_is_rejected_on_binary_data() -> None:
    require_probability(Space("unit", 256), "density", "a flow")
    with pytest.raises(ConfigError, match=r"a flow computes a probability density.*mass on"):
        require_probability(Space("binary"), "density", "a flow")
