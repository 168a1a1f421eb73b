"""Restoring data of which a part is seen: completion, super-resolution, colourisation and denoising.

    y = A x + ε,   ε ~ N(0, σ² I);      draws from p(x | y) and their mean

| Model | Method |
|---|---|
| ``Gaussian``, ``PPCA``, ``GaussianMixture``, ``PPCAMixture`` | closed form |
| ``MADE``, ``PixelCNN`` with a mask | in their order; resampled where seen values follow hidden ones |
| ``CVAE`` of partial images with a mask | learned: p(x | y) is the model |
| any model with a decoder | Hamiltonian Monte Carlo over its latent variables |
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.checks import check_finite
from pyrogen.errors import ConfigError, DataError
from pyrogen.explicit.autoregressive import AutoregressiveDensity
from pyrogen.explicit.components import components
from pyrogen.nn.conditions import Label, PartialImage
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.pyro_tools.decoders import as_decoder
from pyrogen.random import derive, scoped_seed
from pyrogen.use.conditional_gaussian import condition
from pyrogen.use.operators import Linear, Mask, matrix
from pyrogen.use.posterior import Seen, sample_posterior

PARTICLES = 16
"""Completions of an autoregressive model of which one draw is resampled, where seen values come after hidden ones."""


@dataclass(frozen=True)
class Restoration:
    """What was restored, in model coordinates.

    Args:
        draws: from p(x | y), ``(n, draws, *event)``.
        mean: E[x | y], exact or that of the draws, ``(n, *event)``.
        method: ``closed form``, ``in order``, ``resampled``, ``learned`` or ``HMC``.
        detail: diagnostics of the method.
    """

    draws: Tensor
    mean: Tensor
    method: str
    detail: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def restore(
    model: Any,
    y: Tensor,
    operator: Linear,
    shape: Sequence[int],
    *,
    noise: float = 0.0,
    draws: int = 16,
    side: Tensor | None = None,
    seed: int = 0,
) -> Restoration:
    """Draw from p(x | y), given y = A x + ε.

    Args:
        model: a model of the table above; a user's Pyro pair with continuous latent variables is one with a decoder.
        y: what is seen in model coordinates, ``(n, *seen)``: ``operator(x)`` for the data x.
        operator: A: ``Mask``, ``Downsample``, ``Grey``, ``Noise``, or any function that is linear in each row.
        shape: of a datum, ``data.shape``.
        noise: σ, the standard deviation of ε.
        draws: for each datum.
        side: side information of a conditional model, ``n`` rows; labels that are not given are inferred with x.
        seed: of the draws.

    Raises:
        ConfigError: for a model that cannot restore, an operator that is not linear, or a model without observation
            noise if ``noise`` is 0.
        DataError: if y is not finite, or has another shape than A gives.
    """
    check_finite(y, "restoration")
    if draws < 1 or noise < 0:
        raise ConfigError(f"expected draws >= 1 and noise >= 0; got {draws} and {noise}")
    expected = tuple(operator(y.new_zeros(1, *shape)).shape[1:])
    if y.shape[1:] != expected:
        raise DataError(f"of data of shape {tuple(shape)}, {expected} is seen; got y of shape {tuple(y.shape[1:])}")
    with scoped_seed(derive(seed, "restore")), eval_mode(model):
        return _restore(model, Seen(y, operator, noise, tuple(shape)), draws, side)


def _restore(model: Any, seen: Seen, draws: int, side: Tensor | None) -> Restoration:
    y, n, shape = seen.y, len(seen.y), seen.shape
    p_x = components(model)
    if p_x is not None:
        a = matrix(seen.operator, y.new_zeros(shape))
        x, mean = condition(p_x, y.flatten(1), a, seen.noise, draws)
        return Restoration(x.to(y.dtype).view(n, draws, *shape), mean.to(y.dtype).view(n, *shape), "closed form")
    if seen.mask and isinstance(model, AutoregressiveDensity):
        return _in_order(model, _partial(seen, seen.mask), draws, side)
    if seen.mask and isinstance(getattr(model, "condition", None), PartialImage):
        many = _partial(seen, seen.mask).repeat_interleave(draws, 0)
        x, means = (sample(len(many), many).view(n, draws, *shape) for sample in (model.sample, model.sample_mean))
        return Restoration(x, means.mean(1), "learned")
    if isinstance(model, AutoregressiveDensity):
        raise ConfigError(f"a {type(model).__name__} restores what a mask hides, without noise")
    given = getattr(model, "condition", None)

    def of(rows: Tensor) -> Tensor | None:
        if side is not None:
            return side[rows]
        return given.draw(len(rows)) if isinstance(given, Label) else None

    decoder = as_decoder(model, y.new_zeros(2, *shape), of(torch.zeros(2, dtype=torch.long, device=y.device)))
    x, mean, detail = sample_posterior(decoder, seen, of, draws)
    return Restoration(x, mean, "HMC", detail)


def _partial(seen: Seen, mask: Mask) -> Tensor:
    """Data with the seen values, and NaN elsewhere."""
    return torch.where(mask.seen.to(seen.y.device), seen.filled(), torch.nan)


def _in_order(model: AutoregressiveDensity, partial: Tensor, draws: int, side: Tensor | None) -> Restoration:
    """Completions value by value; resampled by their importance weights where these differ."""
    n, missing = len(partial), partial[0].isnan()
    hidden = [bool(missing[place]) for place in model.places]
    in_order = sorted(hidden) == hidden  # no seen value follows a hidden one
    each = draws if in_order else draws * PARTICLES
    y = None if side is None else side.repeat_interleave(each, 0)
    x, log_weight = model.complete(partial.repeat_interleave(each, 0), y)
    x = x.view(n, each, *partial.shape[1:])
    if in_order:
        return Restoration(x, x.mean(1), "in order")
    weight = log_weight.view(n, each).softmax(1)
    index = torch.multinomial(weight, draws, replacement=True)
    chosen = x[torch.arange(n, device=x.device)[:, None], index]
    mean = torch.einsum("nk,nk...->n...", weight, x)
    return Restoration(chosen, mean, "resampled", {"effective": float((1 / weight.square().sum(1)).mean())})
