"""The log-likelihood of a Pyro pair: exact without latent variables, else bounded by importance weights.

    log w = log p(x, z) - log q(z | x),  z ~ q(z | x)
    ELBO = E[log w]  ≤  IWAE_k = E[log (1/k) Σ w_i]  ≤  log p(x)

Kingma and Welling, ICLR 2014; Burda, Grosse and Salakhutdinov, ICLR 2016. Enumerated sites are marginalised exactly.
Global latent variables (outside the data plate) are drawn from the guide and not weighted: the bound is then one on the
posterior predictive density of each datum. If the guide is not a distribution over the model's latent variables, such
as a point estimate, the value is only an estimate (``PairStructure.no_bound_reason``).

Values on a lattice have a mass, bounded by M dequantisations of each datum, which rises to the mass with M:

    log P(k) = log ∫ p(k + step u) du + log step ≥ E log (1/M) Σ_m p(k + step u_m) + log step,   u_m ~ U(0, 1)^D

Hoogeboom, Cohen and Tomczak, "Learning discrete distributions by dequantization", 2020.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import log, prod
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor

from pyrogen.compile.blockwise import blockwise_log_prob
from pyrogen.data.space import Space, require_probability
from pyrogen.errors import ConfigError
from pyrogen.nn.conditions import Label
from pyrogen.protocols import Pair, Score
from pyrogen.pyro_tools.enumeration import has_enumerated_sites, marginal_log_prob
from pyrogen.pyro_tools.structure import PairStructure, pair_structure, programs
from pyrogen.pyro_tools.traces import data_dim, log_prob, sample_sites, sum_plates, trace_particles
from pyrogen.random import derive, generator, scoped_seed

DRAWS = 16
"""M, the number of dequantisations of each datum."""
LATTICE_NOTE = "discrete columns are dequantised: a bound on the mass of their values"
MAX_ROWS = 10_000
"""The most (datum, particle) rows per call, to bound the memory."""


def log_weights(pair: Pair, x: Tensor, *rest: Tensor, structure: PairStructure | None = None, k: int = 1) -> Tensor:
    """Draw importance weights ``log w``.

    Args:
        pair: the model and its guide.
        x: the data, ``(batch, *event)``.
        rest: side information with as many rows.
        structure: the pair's structure, if known.
        k: the number of draws per datum. A guide with a single latent variable runs once for all of them.

    Returns:
        Nats, ``(k, batch)``.

    Raises:
        ConfigError: as for ``pair_structure``.
    """
    structure = structure or pair_structure(pair, x, *rest)
    model, guide = programs(pair)
    enumerating = poutine.enum(model, first_available_dim=-1 - structure.depth)
    joint, given = trace_particles(enumerating, guide, (x, *rest), k, run_guide_once=True, data=structure.data)
    many = k * len(x)
    if has_enumerated_sites(joint):
        total = marginal_log_prob(joint, structure.data, many) - _row_log_probs(given, structure, x.new_zeros(()))
    else:
        total = _row_log_probs(joint, structure, x.new_zeros(())) - _row_log_probs(given, structure, x.new_zeros(()))
    return total.expand(many).view(k, len(x))


def _row_log_probs(trace: Trace, structure: PairStructure, total: Tensor) -> Tensor:
    """Sum the log-probabilities of the sites in the data plate per row, ``(rows,)``; ``()`` if there are none."""
    for site in sample_sites(trace):
        dim = data_dim(site, structure.data)
        if dim is not None:
            term = scale_and_mask(log_prob(site, blockwise_log_prob), 1.0, site["mask"])
            total = total + sum_plates(term, dim, structure.depth, keepdim=True)
    return total.flatten() if total.ndim else total


@torch.no_grad()
def bounds(pair: Pair, x: Tensor, *rest: Tensor, k: int = 100, seed: int = 0) -> tuple[Tensor, Tensor, PairStructure]:
    """Compute the ELBO and the k-sample importance-weighted bound of each datum.

    Args:
        pair: the model and its guide.
        x: the data, ``(n, *event)``.
        rest: side information with as many rows.
        k: the number of importance samples; 1 is used if the guide is deterministic.
        seed: the seed of the draws.

    Returns:
        ``(elbo, iwae, structure)``, the first two in nats, ``(n,)``.
    """
    with _private_draws(seed):
        structure = pair_structure(pair, x, *rest)
        k = 1 if structure.deterministic_guide else k
        most = min(MAX_ROWS, structure.max_rows or MAX_ROWS)
        # One draw of a global latent variable serves a whole call, so such particles need separate calls.
        chunks = [1] * k if structure.shared else [min(most, k - done) for done in range(0, k, most)]
        rows = max(most // max(chunks), 1)
        # Allocated once: small results between large temporaries would fragment the memory.
        elbo, iwae = torch.empty(2, len(x), device=x.device, dtype=x.dtype if x.is_floating_point() else None)
        for start in range(0, len(x), rows):
            part = [t[start : start + rows] for t in (x, *rest)]
            w = torch.cat([log_weights(pair, *part, structure=structure, k=r) for r in chunks])
            elbo[start : start + rows] = w.mean(0)
            iwae[start : start + rows] = w.logsumexp(0) - log(k)
    return elbo, iwae, structure


@contextmanager
def _private_draws(seed: int) -> Iterator[None]:
    """Draws that depend on the seed alone, and parameters that are left as they are."""
    store = pyro.get_param_store()
    with scoped_seed(derive(seed, "importance")), store.scope(store.get_state()):
        yield


def structure_of(pair: Pair, x: Tensor, *rest: Tensor) -> PairStructure:
    """``pair_structure`` without a trace: the random state and Pyro's parameters are as before."""
    with _private_draws(0):
        return pair_structure(pair, x, *rest)


def mean_score(values: Tensor, kind: Any, unit: str = "nats", **detail: Any) -> Score:
    """Return the mean over data as a score, with the standard error of the mean and the values themselves."""
    n, values = len(values), values.detach().double()
    stderr = float(values.std() / n**0.5) if n > 1 else 0.0
    return Score(float(values.mean()), stderr, kind, unit, {"n": n, **detail}, values=values)


def in_user_units(scores: Mapping[str, Score], space: Space, hidden: Tensor | None = None) -> dict[str, Score]:
    """Convert log-densities of model coordinates to log-likelihoods in the user's units.

    ``log p(v) = log p(z) + log |dz / dv|``; for columns on a lattice, with the volume of a cell, this is a lower bound
    on the log-mass, by Jensen's inequality over the dequantisation noise.

    Args:
        scores: scores in nats.
        space: the space of the data.
        hidden: the values that the likelihood is of, ``bool (n, *event)``; all by default.
    """
    shift = space.log_det
    if hidden is not None and space.scale is not None:
        shift = -float((hidden.double() * space.scale.to(hidden.device).log()).flatten(1).sum(1).mean())
    converted = {name: replace(score, value=score.value + shift) for name, score in scores.items()}
    if space.is_lattice:
        for name, score in converted.items():
            if score.kind in ("exact", "lower_bound"):
                note = "; ".join(text for text in (score.detail.get("note"), LATTICE_NOTE) if text)
                converted[name] = replace(score, kind="lower_bound", detail={**score.detail, "note": note})
    return converted


def pair_scores(
    pair: Pair, x: Tensor, *rest: Tensor, space: Space | None = None, k: int = 100, seed: int = 0
) -> tuple[dict[str, Score], Tensor]:
    """Compute ``log_likelihood``, and ``elbo`` and ``iwae`` if there are latent variables.

    Returns:
        The scores, and the best value for each datum in nats, ``(n,)``. If the log-weights do not bound log p(x), as
        with a point estimate of a continuous latent variable, the scores are estimates and their ``note`` says why.

    Raises:
        ConfigError: if the model has a mass function and the space densities, or the reverse, or if a value is not
            finite.
    """
    elbo, iwae, structure = bounds(pair, x, *rest, k=k, seed=seed)
    if space is not None:
        require_probability(space, structure.probability, "the model")
        if space.is_lattice:
            few = max(k // DRAWS, 1)
            iwae = mean_over_dequantisations(
                lambda z: bounds(pair, z, *rest, k=few, seed=seed)[1], x, space, derive(seed, "lattice")
            )
    kind = structure.score_kind
    condition = getattr(pair, "condition", None)
    if isinstance(condition, Label) and rest:
        # log p(x) = log Σ_y p(y) p(x | y) ≥ log p(y) + log p(x | y) for any y
        prior = condition.log_prob(rest[0])
        elbo, iwae = elbo + prior, iwae + prior
        kind = "lower_bound" if kind == "exact" else kind
    check_finite_values(iwae, "the log-likelihood of the pair")
    note: dict[str, Any] = {} if structure.no_bound_reason is None else {"note": structure.no_bound_reason}
    if not structure.latent:
        return {"log_likelihood": mean_score(iwae, kind, **note)}, iwae
    check_finite_values(elbo, "the ELBO of the pair")
    note["k"] = 1 if structure.deterministic_guide else k
    best = mean_score(iwae, kind, **note)
    return {"log_likelihood": best, "elbo": mean_score(elbo, kind, **note), "iwae": best}, iwae


def mean_over_dequantisations(values: Callable[[Tensor], Tensor], x: Tensor, space: Space | None, seed: int) -> Tensor:
    """``log (1/M) Σ_m exp values(x_m)``, with x_1 = x and other draws of the noise; ``values(x)`` without a lattice.

    Args:
        values: log-densities of data in model coordinates, ``(n, D) -> (n,)``.
        x: the data in model coordinates.
        space: their space.
        seed: of the draws.
    """
    if space is None or not space.is_lattice:
        return values(x)
    cells = space.to_user(x)
    noise = generator(seed, "dequantisation", device=x.device)
    each = [values(x)]
    for _ in range(DRAWS - 1):
        u = torch.rand(x.shape, generator=noise, device=x.device, dtype=torch.float64)
        each.append(values(space.from_columns(cells, u).to(x.dtype)))
    return torch.stack(each).logsumexp(0) - log(DRAWS)


def density_scores(
    log_prob: Callable[..., Tensor], x: Tensor, *rest: Tensor, space: Space | None = None, seed: int = 0
) -> tuple[dict[str, Score], Tensor]:
    """Compute ``log_likelihood`` of a tractable density, and its value for each datum.

    Raises:
        ConfigError: if ``log_prob`` does not return one finite number per datum.
    """
    values = mean_over_dequantisations(lambda z: _log_probs(log_prob, z, *rest), x, space, seed)
    return {"log_likelihood": mean_score(values, "exact")}, values


def _log_probs(log_prob: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> Tensor:
    """The log-density of each datum, computed in chunks."""
    rows = max(MAX_ROWS * 100 // max(prod(x.shape[1:]), 1), 1)
    parts = []
    with torch.no_grad():
        for i in range(0, len(x), rows):
            batch = [t[i : i + rows] for t in (x, *rest)]
            part = log_prob(*batch)
            shape = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            if shape != (len(batch[0]),):
                raise ConfigError(
                    f"log_prob of {len(batch[0])} data: expected shape ({len(batch[0])},), one number per datum, "
                    f"summed over its dimensions; got {shape}"
                )
            parts.append(part)
    values = torch.cat(parts)
    check_finite_values(values, "log_prob")
    return values


def check_finite_values(values: Tensor, name: str) -> None:
    """Raise ``ConfigError`` if values are not finite, with the numbers of NaN and infinite ones."""
    broken, nan = int((~values.isfinite()).sum()), int(values.isnan().sum())
    if broken:
        raise ConfigError(
            f"{name} is not finite for {broken} of {len(values)} data ({nan} NaN, {broken - nan} infinite)"
        )
