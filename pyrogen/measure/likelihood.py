"""The log-likelihood of a Pyro pair: exact where nothing is latent, else bounds by importance weights.

    log w = log p(x, z) - log q(z | x),  z ~ q(z | x)
    ELBO = E[log w]  ≤  IWAE_k = E[log (1/k) Σ w_i]  ≤  log p(x)

Kingma and Welling, ICLR 2014; Burda, Grosse and Salakhutdinov, ICLR 2016. Sites marked for enumeration
are summed out exactly. Latent variables outside the data plate, which all data share, are drawn from the
guide and carry no weight: the bound is then one on the posterior predictive density of each datum. Where the guide is
no distribution over what the model draws, such as a point estimate, the value is an estimate (``Structure.why``).
"""

from collections.abc import Callable
from math import log, prod
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor

from pyrogen.data.space import Space, require
from pyrogen.errors import ConfigError
from pyrogen.measure.enumeration import enumerated, summed_out
from pyrogen.measure.structure import Structure, programs, structure
from pyrogen.nn.conditions import Label
from pyrogen.protocols import Pair, Score
from pyrogen.pyro_tools.traces import data_dim, log_prob, over_plates, particles, samples
from pyrogen.random import derive, scoped_seed

ROWS = 10_000
"""How many (datum, particle) rows are computed at once; bounds the memory."""


def log_weights(pair: Pair, x: Tensor, *rest: Tensor, what: Structure | None = None, k: int = 1) -> Tensor:
    """Draws of ``log w``.

    Args:
        pair: the model and its guide.
        x: the data, ``(batch, *event)``.
        rest: side information with as many rows.
        what: the pair's structure, if known.
        k: how many for each datum. A guide with a single latent variable runs once for all of them.

    Returns:
        Nats, ``(k, batch)``.

    Raises:
        ConfigError: as ``structure``.
    """
    what = what or structure(pair, x, *rest)
    model, guide = programs(pair)
    enumerating = poutine.enum(model, first_available_dim=-1 - what.depth)
    joint, given = particles(enumerating, guide, (x, *rest), k, at_once=True, data=what.data)
    many = k * len(x)
    if enumerated(joint):
        total = summed_out(joint, what.data, many) - _rows(given, what, x.new_zeros(()))
    else:
        total = _rows(joint, what, x.new_zeros(())) - _rows(given, what, x.new_zeros(()))
    return total.expand(many).view(k, len(x))


def _rows(trace: Trace, what: Structure, total: Tensor) -> Tensor:
    """The log-probability of each row: the sites in the plate of the data, ``(rows,)``; ``()`` where there are none."""
    for site in samples(trace):
        dim = data_dim(site, what.data)
        if dim is not None:
            term = scale_and_mask(log_prob(site), 1.0, site["mask"])
            total = total + over_plates(term, dim, what.depth, keepdim=True)
    return total.flatten() if total.ndim else total


@torch.no_grad()
def bounds(pair: Pair, x: Tensor, *rest: Tensor, k: int = 100, seed: int = 0) -> tuple[Tensor, Tensor, Structure]:
    """ELBO and k-sample importance-weighted bound of each datum.

    Args:
        pair: the model and its guide.
        x: the data, ``(n, *event)``.
        rest: side information with as many rows.
        k: importance samples; 1 is enough, and used, where nothing is latent.
        seed: of the draws.

    Returns:
        ``(elbo, iwae, structure)``, the first two in nats, ``(n,)``.
    """
    store = pyro.get_param_store()
    with scoped_seed(derive(seed, "importance")), store.scope(store.get_state()):
        what = structure(pair, x, *rest)
        k = 1 if what.certain else k
        most = min(ROWS, what.most or ROWS)
        # A shared latent serves a whole call, so its particles take turns; others lie side by side.
        turns = [1] * k if what.shared else [min(most, k - done) for done in range(0, k, most)]
        rows = max(most // max(turns), 1)
        # Made once: small results between large passing ones would keep the allocator from using its memory again.
        elbo, iwae = torch.empty(2, len(x), device=x.device, dtype=x.dtype if x.is_floating_point() else None)
        for start in range(0, len(x), rows):
            part = [t[start : start + rows] for t in (x, *rest)]
            w = torch.cat([log_weights(pair, *part, what=what, k=r) for r in turns])
            elbo[start : start + rows] = w.mean(0)
            iwae[start : start + rows] = w.logsumexp(0) - log(k)
    return elbo, iwae, what


def mean_score(values: Tensor, kind: Any, unit: str = "nats", **detail: Any) -> Score:
    """The mean over data as a score, with the standard error of that mean."""
    n = len(values)
    stderr = float(values.double().std() / n**0.5) if n > 1 else 0.0
    return Score(float(values.double().mean()), stderr, kind, unit, {"n": n, **detail})


def pair_scores(
    pair: Pair, x: Tensor, *rest: Tensor, space: Space | None = None, k: int = 100, seed: int = 0
) -> tuple[dict[str, Score], Tensor]:
    """``log_likelihood``, and ``elbo`` and ``iwae`` where something is latent.

    Returns:
        The scores, and the best value for each datum in nats, ``(n,)``. Where the log-weights bound nothing, such as
        by a point estimate of a continuous latent variable, the scores are estimates, and their ``note`` says why.

    Raises:
        ConfigError: if the model has a mass where the measure is one of densities, or the reverse, or if a value is
            not finite.
    """
    elbo, iwae, what = bounds(pair, x, *rest, k=k, seed=seed)
    if space is not None:
        require(space, what.probability, "the model")
    says = what.says
    condition = getattr(pair, "condition", None)
    if isinstance(condition, Label) and rest:
        # log p(x) = log Σ_y p(y) p(x | y) ≥ log p(y) + log p(x | y) for any y
        prior = condition.log_prob(rest[0])
        elbo, iwae = elbo + prior, iwae + prior
        says = "lower_bound" if says == "exact" else says
    finite(iwae, "the log-likelihood of the pair")
    note: dict[str, Any] = {} if what.why is None else {"note": what.why}
    if not what.latent:
        return {"log_likelihood": mean_score(iwae, says, **note)}, iwae
    finite(elbo, "the ELBO of the pair")
    note["k"] = 1 if what.certain else k
    best = mean_score(iwae, says, **note)
    return {"log_likelihood": best, "elbo": mean_score(elbo, says, **note), "iwae": best}, iwae


def density_scores(log_prob: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> tuple[dict[str, Score], Tensor]:
    """``log_likelihood`` of a tractable density, and its value for each datum.

    Raises:
        ConfigError: if ``log_prob`` gives anything but one finite number for each datum.
    """
    rows = max(ROWS * 100 // max(prod(x.shape[1:]), 1), 1)
    parts = []
    with torch.no_grad():
        for i in range(0, len(x), rows):
            batch = [t[i : i + rows] for t in (x, *rest)]
            part = log_prob(*batch)
            shape = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            if shape != (len(batch[0]),):
                raise ConfigError(
                    f"log_prob gave {shape} for {len(batch[0])} data: expected shape ({len(batch[0])},), "
                    f"one number for each, summed over its dimensions"
                )
            parts.append(part)
    values = torch.cat(parts)
    finite(values, "log_prob")
    return {"log_likelihood": mean_score(values, "exact")}, values


def finite(values: Tensor, what: str) -> None:
    """Refuse values that are not finite: their mean would say nothing.

    Raises:
        ConfigError: naming what they are and how many of them are NaN or infinite.
    """
    broken, nan = int((~values.isfinite()).sum()), int(values.isnan().sum())
    if broken:
        raise ConfigError(
            f"{what} is not finite for {broken} of {len(values)} data ({nan} NaN, {broken - nan} infinite)"
        )
