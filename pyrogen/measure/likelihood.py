"""The log-likelihood of a Pyro pair: exact where nothing is latent, else bounds by importance weights.

    log w = log p(x, z) - log q(z | x),  z ~ q(z | x)
    ELBO = E[log w]  ≤  IWAE_k = E[log (1/k) Σ w_i]  ≤  log p(x)

Kingma and Welling, ICLR 2014; Burda, Grosse and Salakhutdinov, ICLR 2016. Sites marked for enumeration
are summed out exactly. Latent variables outside the data plate, which all data share, are drawn from the
guide and carry no weight: the bound is then one on the posterior predictive density of each datum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, prod
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrogen.data.measure import Measure, require
from pyrogen.errors import ConfigError
from pyrogen.protocols import Pair, Score
from pyrogen.random import derive, scoped_seed

ROWS = 10_000
"""How many (datum, particle) rows are computed at once; bounds the memory."""


@dataclass(frozen=True)
class Structure:
    """What one run of a pair over a batch tells.

    Args:
        plates: the deepest nesting of plates.
        kind: whether the observed site has a mass or a density.
        latent: whether some latent variable is drawn, not summed out.
        shared: whether some latent variable lies outside the data plate.
    """

    plates: int
    kind: str
    latent: bool
    shared: bool


def structure(pair: Pair, x: Tensor, *rest: Tensor) -> Structure:
    """Run the pair once over a batch and see what it is made of."""
    joint = poutine.trace(pair.model).get_trace(x, *rest)
    given = poutine.trace(pair.guide).get_trace(x, *rest)
    frames = [f for site in _samples(joint) for f in site["cond_indep_stack"] if f.vectorized]
    discrete = [s["fn"].support.is_discrete for s in _samples(joint) if s["is_observed"]]
    if not discrete:
        raise ConfigError("the model observes nothing: pass the data to a site with obs=x")
    plates = {f.name for s in _samples(joint) if s["is_observed"] for f in s["cond_indep_stack"] if f.size == len(x)}
    for site in _samples(given):
        sizes = [f.size for f in site["cond_indep_stack"] if f.name in plates and f.size != len(x)]
        if sizes:
            raise ConfigError(
                f"the guide has a {site['name']!r} for each of {sizes[0]} data it was trained on: "
                f"it cannot judge others (amortise it: let it depend on x)"
            )
    drawn = [s for s in _samples(joint) if not s["is_observed"] and not _enumerated(s, given)]
    return Structure(
        plates=max((-f.dim for f in frames), default=0),
        kind="mass" if all(discrete) else "density",
        latent=bool(drawn),
        shared=any(_data_dim(site, len(x)) is None for site in drawn),
    )


def log_weights(pair: Pair, x: Tensor, *rest: Tensor, plates: int | None = None) -> Tensor:
    """One draw of ``log w`` for each datum.

    Args:
        pair: the model and its guide.
        x: the data, ``(batch, *event)``.
        rest: side information with as many rows.
        plates: the deepest nesting of plates, if known.

    Returns:
        Nats, ``(batch,)``.

    Raises:
        ConfigError: if the data are in no plate of their number, or an enumerated site is not in that plate alone.
    """
    n = len(x)
    plates = structure(pair, x, *rest).plates if plates is None else plates
    first = -1 - plates
    given, joint = _traces(poutine.enum(pair.model, first_available_dim=first), pair.guide, x, *rest)
    total: Tensor | float = 0.0
    seen = False
    for sign, trace in ((1.0, joint), (-1.0, given)):
        for site in _samples(trace):
            dim = _data_dim(site, n)
            if dim is None:
                if site["is_observed"]:
                    raise ConfigError(
                        f"site {site['name']!r} is observed outside a plate of the {n} data: "
                        f"wrap it in `with pyro.plate('data', len(x))`"
                    )
                if sign > 0 and _enumerated(site, given):
                    raise ConfigError(f"site {site['name']!r} is enumerated outside the data plate: no per-datum value")
                continue
            if sign > 0 and _enumerated(site, given) and sum(f.size > 1 for f in site["cond_indep_stack"]) > 1:
                raise ConfigError(f"site {site['name']!r} is enumerated inside a further plate: not supported here")
            term = scale_and_mask(site["fn"].log_prob(site["value"]), 1.0, site["mask"])
            inner = [d for d in range(-plates, 0) if d != dim and -d <= term.ndim]
            term = term.sum(inner, keepdim=True) if inner else term
            total = total + sign * term
            seen = True
    if not seen or not isinstance(total, Tensor):
        raise ConfigError("the model has no site in a plate of the data")
    outer = max(plates, 1)
    total = total.reshape(*total.shape[: max(total.ndim - outer, 0)], -1)
    weights: Tensor = total.reshape(-1, total.shape[-1]).logsumexp(0)
    return weights.expand(n)


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
    with scoped_seed(derive(seed, "importance")):
        what = structure(pair, x[:2], *(r[:2] for r in rest))
        k = k if what.latent else 1
        repeat = 1 if what.shared else k  # a shared draw serves a whole call, so particles take turns
        elbo, iwae = [], []
        rows = max(ROWS // repeat, 1)
        for start in range(0, len(x), rows):
            part = [t[start : start + rows] for t in (x, *rest)]
            many = [t.repeat_interleave(repeat, 0) for t in part]
            draws = [log_weights(pair, *many, plates=what.plates) for _ in range(k // repeat)]
            w = torch.stack(draws, 1).reshape(len(part[0]), -1)
            elbo.append(w.mean(1))
            iwae.append(w.logsumexp(1) - log(w.shape[1]))
    return torch.cat(elbo), torch.cat(iwae), what


def mean_score(values: Tensor, kind: Any, unit: str = "nats", **detail: Any) -> Score:
    """The mean over data as a score, with the standard error of that mean."""
    n = len(values)
    stderr = float(values.double().std() / n**0.5) if n > 1 else 0.0
    return Score(float(values.double().mean()), stderr, kind, unit, {"n": n, **detail})


def pair_scores(
    pair: Pair, x: Tensor, *rest: Tensor, measure: Measure | None = None, k: int = 100, seed: int = 0
) -> tuple[dict[str, Score], Tensor]:
    """``log_likelihood``, and ``elbo`` and ``iwae`` where something is latent.

    Returns:
        The scores, and the best value for each datum in nats, ``(n,)``.

    Raises:
        ConfigError: if the model has a mass where the measure is one of densities, or the reverse.
    """
    elbo, iwae, what = bounds(pair, x, *rest, k=k, seed=seed)
    if measure is not None:
        require(measure, what.kind, "the model")
    prior = getattr(pair, "log_prob_label", None)
    if prior is not None and rest:
        elbo, iwae = elbo + prior(rest[0]), iwae + prior(rest[0])
    if not what.latent:
        return {"log_likelihood": mean_score(iwae, "exact")}, iwae
    best = mean_score(iwae, "lower_bound", k=k)
    return {"log_likelihood": best, "elbo": mean_score(elbo, "lower_bound", k=k), "iwae": best}, iwae


def density_scores(log_prob: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> tuple[dict[str, Score], Tensor]:
    """``log_likelihood`` of a tractable density, and its value for each datum."""
    rows = max(ROWS * 100 // max(prod(x.shape[1:]), 1), 1)
    with torch.no_grad():
        parts = [log_prob(*(t[i : i + rows] for t in (x, *rest))) for i in range(0, len(x), rows)]
    values = torch.cat(parts)
    return {"log_likelihood": mean_score(values, "exact")}, values


def _traces(model: Any, guide: Any, x: Tensor, *rest: Tensor) -> tuple[poutine.Trace, poutine.Trace]:
    given = poutine.trace(guide).get_trace(x, *rest)
    return given, poutine.trace(poutine.replay(model, trace=given)).get_trace(x, *rest)


def _samples(trace: poutine.Trace) -> list[dict[str, Any]]:
    nodes = [trace.nodes[name] for name in (*trace.stochastic_nodes, *trace.observation_nodes)]
    return [site for site in nodes if type(site["fn"]).__name__ != "_Subsample"]


def _enumerated(site: dict[str, Any], given: poutine.Trace) -> bool:
    return bool(site["infer"].get("enumerate")) and not site["is_observed"] and site["name"] not in given.nodes


def _data_dim(site: dict[str, Any], n: int) -> int | None:
    """The dimension of the outermost plate of ``n`` rows around a site; ``None`` if it is in none."""
    return next((f.dim for f in site["cond_indep_stack"] if f.vectorized and f.size == n), None)
