"""Checks of a model's methods, one for each protocol."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset, Split
from pyrogen.measure.likelihood import bounds
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Density, Implicit, LatentVariable, Pair, Reconstructing, Sampler
from pyrogen.pyro_tools.programs import count_positional, drop_extra_args
from pyrogen.random import scoped_seed
from pyrogen.testing.assertions import (
    BATCH_ROWS,
    errors_as_assertions,
    expect,
    expect_protocol,
    expect_tensor,
    expect_unchanged,
    first_batch,
)


def check_sampler(model: Sampler, data: Dataset | Split) -> None:
    """Check that ``sample(n, y=None)`` draws ``n`` finite, detached data by torch's generator and changes nothing."""
    expect_protocol(model, Sampler, "sample(n, y=None)")
    x, *_ = first_batch(data)
    with expect_unchanged("sample(n)", model):
        for n in (len(x), 1):
            drawn = draw_samples(model, data, n)
            expect_tensor(f"sample({n})", drawn, (n, *x.shape[1:]))
            expect(drawn.is_floating_point(), f"sample({n}) is of {drawn.dtype}; expected floats")
            expect(not drawn.requires_grad, f"sample({n}) carries a gradient; expected detached samples")
        first, second, other = (draw_samples(model, data, seed=seed) for seed in (0, 0, 1))
    expect(torch.equal(first, second), "one seed gave different samples; expected all draws to be torch's")
    expect(not torch.equal(first, other), "different seeds gave the same samples; expected them to be random")


def check_density(model: Density, data: Dataset | Split) -> None:
    """Check that ``log_prob(x, y=None)`` is finite and independent of the other rows of the batch."""
    expect_protocol(model, Density, "log_prob(x, y=None) and sample(n, y=None)")
    _expect_row_wise(model, "log_prob", first_batch(data))


def check_pair(pair: Pair, data: Dataset | Split, density: Density | None = None) -> None:
    """Check that ``model`` and ``guide`` bound the likelihood: ELBO ≤ IWAE, and ELBO ≤ log p(x) where that is known.

    Args:
        pair: a model and its guide, or an ``SVI`` step.
        data: the data to evaluate.
        density: a density with the exact ``log_prob`` of the pair; by default the pair itself if it has one.
    """
    expect_protocol(pair, Pair, "model(x, y=None), guide(x, y=None) and sample(n, y=None)")
    density = density or (pair if isinstance(pair, Density) else None)
    x, *rest = first_batch(data)
    with expect_unchanged("model or guide", pair), errors_as_assertions(), torch.no_grad(), eval_mode(pair, density):
        elbo, iwae, what = bounds(pair, x, *rest, k=BATCH_ROWS)
        exact = None if density is None else drop_extra_args(density.log_prob)(x, *rest)
    expect_tensor("the ELBO", elbo, (len(x),))
    expect(bool((elbo <= iwae + 1e-4 * elbo.abs() + 1e-4).all()), "an ELBO lies above its importance-weighted bound")
    if exact is not None:
        # An ELBO that is lower by KL has a standard error of √(2 KL / N) over N draws, so 4 errors above it is ≤ 8 / N.
        above, rounding = float((elbo - exact).mean()), 1e-4 * float(exact.abs().mean())
        bound = above <= 8 / (len(x) * BATCH_ROWS) + rounding
        expect(bound, f"the mean ELBO lies {above:.3g} nats above that of log_prob(x); expected a lower bound")
        same = what.latent or torch.allclose(iwae, exact, rtol=1e-4, atol=1e-3)
        expect(same, "model(x), which has no latent variable, and log_prob(x) differ; expected one density")


def check_latent_variable(model: LatentVariable, data: Dataset | Split) -> None:
    """Check that ``encode(x, y=None)`` returns ``(n, latent)`` and ``decode(z, y=None)`` data, row by row."""
    expect_protocol(model, LatentVariable, "encode(x, y=None) and decode(z, y=None) beside a Pyro pair")
    x, *rest = first_batch(data)
    z = _expect_row_wise(model, "encode", (x, *rest), "latent")
    _expect_row_wise(model, "decode", (z, *rest), *x.shape[1:])


def check_implicit(model: Implicit, data: Dataset | Split) -> None:
    """Check that ``prior(n)`` returns ``(n, latent)``, and ``generator(z)`` or ``generator(z, y)`` data."""
    expect_protocol(model, Implicit, "generator, prior(n) and sample(n, y=None)")
    x, *rest = first_batch(data)
    with expect_unchanged("generator(z)", model), scoped_seed(0), torch.no_grad(), eval_mode(model):
        z = model.prior(len(x))
        expect_tensor(f"prior({len(x)})", z, (len(x), "latent"))
        made = drop_extra_args(model.generator)(z, *rest)
    expect_tensor(f"generator(z) of {len(x)} rows", made, tuple(x.shape))


def check_autoencoder(model: Reconstructing, data: Dataset | Split) -> None:
    """Check that ``reconstruct(x, y=None)`` returns data of the same shape, row by row."""
    expect_protocol(model, Reconstructing, "reconstruct(x, y=None)")
    x, *rest = first_batch(data)
    _expect_row_wise(model, "reconstruct", (x, *rest), *x.shape[1:])


CAPABILITIES: dict[Any, Callable[[Any, Dataset | Split], None]] = {
    Sampler: check_sampler,
    Density: check_density,
    Pair: check_pair,
    LatentVariable: check_latent_variable,
    Implicit: check_implicit,
    Reconstructing: check_autoencoder,
}
"""The check of each protocol."""


def draw_samples(model: Sampler, data: Dataset | Split, n: int = BATCH_ROWS, seed: int = 0) -> Tensor:
    """Draw samples under a seed, conditional on y if the data have side information."""
    expect(count_positional(model.sample) > 1, "sample does not take y; expected sample(n, y=None)")
    side = (data.test if isinstance(data, Dataset) else data).side_fn
    y = None if side is None else first_batch(data)[1][:n]
    with scoped_seed(seed):
        return drop_extra_args(model.sample)(n if y is None else len(y), y)


def _expect_row_wise(model: Any, method: str, batch: tuple[Tensor, ...], *event: int | str) -> Tensor:
    """Return the result of a method for a batch; check that it is the same for a datum alone."""
    signature = getattr(model, method)
    expect(count_positional(signature) >= len(batch), f"{method} does not take y; expected {method}(x, y=None)")
    call = drop_extra_args(signature)
    with expect_unchanged(method, model), scoped_seed(0), torch.no_grad(), eval_mode(model):
        values, alone = call(*batch), call(*(part[:1] for part in batch))
    for n, value in ((len(batch[0]), values), (1, alone)):
        expect_tensor(f"{method} of {n} data", value, (n, *event))
    same = torch.allclose(values[:1].double(), alone.double(), rtol=1e-3, atol=1e-3)
    expect(same, f"{method} of a datum depends on the others in its batch; expected one value for each datum")
    return values
