"""What a model keeps of the methods that it has, protocol by protocol."""

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
    ROWS,
    as_assertion,
    expect,
    expect_protocol,
    expect_tensor,
    first_batch,
    unchanged,
)


def check_sampler(model: Sampler, data: Dataset | Split) -> None:
    """``sample(n, y=None)`` draws ``n`` finite, detached data by torch's generator, and changes nothing."""
    expect_protocol(model, Sampler, "sample(n, y=None)")
    x, *_ = first_batch(data)
    with unchanged("sample(n)", model):
        for n in (len(x), 1):
            drawn = draw(model, data, n)
            expect_tensor(f"sample({n})", drawn, (n, *x.shape[1:]))
            expect(drawn.is_floating_point(), f"sample({n}) is of {drawn.dtype}; expected floats")
            expect(not drawn.requires_grad, f"sample({n}) carries a gradient; expected detached samples")
        first, second, other = (draw(model, data, seed=seed) for seed in (0, 0, 1))
    expect(torch.equal(first, second), "one seed gave different samples; expected all draws to be torch's")
    expect(not torch.equal(first, other), "different seeds gave the same samples; expected them to be random")


def check_density(model: Density, data: Dataset | Split) -> None:
    """``log_prob(x, y=None)`` is a finite number of nats for each datum, whatever else is in the batch."""
    expect_protocol(model, Density, "log_prob(x, y=None) and sample(n, y=None)")
    _by_row(model, "log_prob", first_batch(data))


def check_pair(pair: Pair, data: Dataset | Split, density: Density | None = None) -> None:
    """``model`` and ``guide`` bound the likelihood of each datum: ELBO ≤ IWAE, and below the exact one if known.

    Args:
        pair: a model and its guide, or an ``SVI`` step.
        data: what is judged.
        density: has the exact ``log_prob`` of what the pair models; by default the pair itself, if it is a density.
    """
    expect_protocol(pair, Pair, "model(x, y=None), guide(x, y=None) and sample(n, y=None)")
    density = density or (pair if isinstance(pair, Density) else None)
    x, *rest = first_batch(data)
    with unchanged("model or guide", pair), as_assertion(), torch.no_grad(), eval_mode(pair, density):
        elbo, iwae, what = bounds(pair, x, *rest, k=ROWS)
        exact = None if density is None else drop_extra_args(density.log_prob)(x, *rest)
    expect_tensor("the ELBO", elbo, (len(x),))
    expect(bool((elbo <= iwae + 1e-4 * elbo.abs() + 1e-4).all()), "an ELBO lies above its importance-weighted bound")
    if exact is not None:
        # An ELBO below by KL strays by √(2 KL / N) over N draws: within 4 deviations it stays below 8 / N.
        above, rounding = float((elbo - exact).mean()), 1e-4 * float(exact.abs().mean())
        bound = above <= 8 / (len(x) * ROWS) + rounding
        expect(bound, f"the mean ELBO lies {above:.3g} nats above that of log_prob(x); expected a lower bound")
        same = what.latent or torch.allclose(iwae, exact, rtol=1e-4, atol=1e-3)
        expect(same, "model(x), which has no latent variable, and log_prob(x) differ; expected one density")


def check_latent_variable(model: LatentVariable, data: Dataset | Split) -> None:
    """``encode(x, y=None)`` gives ``(n, latent)`` row by row, and ``decode(z, y=None)`` data."""
    expect_protocol(model, LatentVariable, "encode(x, y=None) and decode(z, y=None) beside a Pyro pair")
    x, *rest = first_batch(data)
    z = _by_row(model, "encode", (x, *rest), "latent")
    _by_row(model, "decode", (z, *rest), *x.shape[1:])


def check_implicit(model: Implicit, data: Dataset | Split) -> None:
    """``prior(n)`` gives ``(n, latent)``, and ``generator(z)`` or ``generator(z, y)`` data."""
    expect_protocol(model, Implicit, "generator, prior(n) and sample(n, y=None)")
    x, *rest = first_batch(data)
    with unchanged("generator(z)", model), scoped_seed(0), torch.no_grad(), eval_mode(model):
        z = model.prior(len(x))
        expect_tensor(f"prior({len(x)})", z, (len(x), "latent"))
        made = drop_extra_args(model.generator)(z, *rest)
    expect_tensor(f"generator(z) of {len(x)} rows", made, tuple(x.shape))


def check_autoencoder(model: Reconstructing, data: Dataset | Split) -> None:
    """``reconstruct(x, y=None)`` gives each datum back in its shape."""
    expect_protocol(model, Reconstructing, "reconstruct(x, y=None)")
    x, *rest = first_batch(data)
    _by_row(model, "reconstruct", (x, *rest), *x.shape[1:])


CAPABILITIES: dict[Any, Callable[[Any, Dataset | Split], None]] = {
    Sampler: check_sampler,
    Density: check_density,
    Pair: check_pair,
    LatentVariable: check_latent_variable,
    Implicit: check_implicit,
    Reconstructing: check_autoencoder,
}
"""What is checked of a model with the methods of a protocol."""


def draw(model: Sampler, data: Dataset | Split, n: int = ROWS, seed: int = 0) -> Tensor:
    """Samples under a seed, given y where it is side information of the data."""
    expect(count_positional(model.sample) > 1, "sample has no place for y; expected sample(n, y=None)")
    side = (data.test if isinstance(data, Dataset) else data).side
    y = None if side is None else first_batch(data)[1][:n]
    with scoped_seed(seed):
        return drop_extra_args(model.sample)(n if y is None else len(y), y)


def _by_row(model: Any, method: str, batch: tuple[Tensor, ...], *event: int | str) -> Tensor:
    """What a method gives for each datum of a batch, held to be what it gives for the datum alone."""
    signature = getattr(model, method)
    expect(count_positional(signature) >= len(batch), f"{method} has no place for y; expected {method}(x, y=None)")
    call = drop_extra_args(signature)
    with unchanged(method, model), scoped_seed(0), torch.no_grad(), eval_mode(model):
        values, alone = call(*batch), call(*(part[:1] for part in batch))
    for n, value in ((len(batch[0]), values), (1, alone)):
        expect_tensor(f"{method} of {n} data", value, (n, *event))
    same = torch.allclose(values[:1].double(), alone.double(), rtol=1e-3, atol=1e-3)
    expect(same, f"{method} of a datum depends on the others in its batch; expected one value for each datum")
    return values
