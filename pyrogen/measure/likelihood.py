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

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrogen.data.measure import Measure, require
from pyrogen.errors import ConfigError
from pyrogen.protocols import Pair, Score
from pyrogen.random import derive, scoped_seed
from pyrogen.traces import data_dim, log_prob, over_plates, particles, samples

ROWS = 10_000
"""How many (datum, particle) rows are computed at once; bounds the memory."""


@dataclass(frozen=True)
class Structure:
    """What running a pair over one datum and over two tells.

    Args:
        depth: the deepest nesting of plates.
        data: the names of the plates whose size follows the number of data.
        most: how many data those plates hold at most; ``None`` for as many as are given.
        kind: whether the observed site has a mass or a density.
        latent: whether some latent variable is drawn, not summed out.
        shared: whether some latent variable lies outside the data plate.
        certain: whether the guide leaves nothing to chance, so that one draw says all.
    """

    depth: int
    data: frozenset[str]
    most: int | None
    kind: str
    latent: bool
    shared: bool
    certain: bool


def structure(pair: Pair, x: Tensor, *rest: Tensor) -> Structure:
    """Run the pair over the first datum, once and twice, and see what it is made of.

    Raises:
        ConfigError: if the pair has no likelihood for each datum; the message names the site at fault.
    """
    one, two = ([t[:1].expand(n, *t.shape[1:]) for t in (x, *rest)] for n in (1, 2))
    alone = [samples(poutine.trace(f).get_trace(*one)) for f in (pair.model, pair.guide)]
    joint, given = (poutine.trace(f).get_trace(*two) for f in (pair.model, pair.guide))
    data = frozenset(
        name
        for few, more in zip(alone, (joint, given), strict=True)
        for name, size in _sizes(samples(more)).items()
        if size == 2 and _sizes(few).get(name) == 1
    )
    observed = [s for s in samples(joint) if s["is_observed"] and type(s["fn"]).__name__ != "Unit"]
    if not observed:
        raise ConfigError("the model observes nothing: pass the data to a site with obs=x")
    for site in observed:
        if data_dim(site, data) is None:
            raise ConfigError(
                f"site {site['name']!r} is observed outside a plate of the data: "
                f"wrap it in `with pyro.plate('data', len(x))`"
            )
    for site in samples(given):
        fixed = [f.size for f in site["cond_indep_stack"] if f.name in data and f.size != 2]
        if fixed:
            raise ConfigError(
                f"the guide has a {site['name'].removesuffix('_unconstrained')!r} for each of {fixed[0]} data it was "
                f"trained on: it cannot judge others (amortise it: let it depend on x)"
            )
    drawn = []
    for site in samples(joint):
        name, how = site["name"], site["infer"].get("enumerate")
        if site["is_observed"]:
            continue
        if name in given.nodes:
            if data_dim(site, data) != data_dim(given.nodes[name], data):
                raise ConfigError(f"site {name!r} is in the data plate of only one of model and guide")
            drawn.append(site)
        elif how == "parallel":
            if data_dim(site, data) is None:
                raise ConfigError(f"site {name!r} is enumerated outside the data plate: no value for each datum")
            if sum(f.size > 1 for f in site["cond_indep_stack"]) > 1:
                raise ConfigError(f"site {name!r} is enumerated inside a further plate: not supported")
        elif how == "sequential":
            raise ConfigError(f"site {name!r} is enumerated sequentially; mark it infer={{'enumerate': 'parallel'}}")
        else:
            raise ConfigError(f"site {name!r} is latent in the model but not in the guide, and is not enumerated")
    frames = [f for site in (*samples(joint), *samples(given)) for f in site["cond_indep_stack"] if f.vectorized]
    full = [f.full_size for f in frames if f.name in data and f.full_size not in (None, f.size)]
    return Structure(
        depth=max((-f.dim for f in frames), default=0),
        data=data,
        most=min(full, default=None),
        kind="mass" if all(s["fn"].support.is_discrete for s in observed) else "density",
        latent=bool(drawn),
        shared=any(data_dim(site, data) is None for site in drawn),
        certain=all(isinstance(site["fn"], Delta) for site in samples(given)),
    )


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
    enumerating = poutine.enum(pair.model, first_available_dim=-1 - what.depth)
    joint, given = particles(enumerating, pair.guide, (x, *rest), k, at_once=True)
    total = x.new_zeros(())
    for sign, trace in ((1.0, joint), (-1.0, given)):
        for site in samples(trace):
            dim = data_dim(site, what.data)
            if dim is None:
                continue
            term = scale_and_mask(log_prob(site), 1.0, site["mask"])
            values = site["infer"].get("_enumerate_dim")
            if values is not None and isinstance(site["mask"], Tensor):
                # A masked site still has its values to be summed over: they share a mass of one.
                term = torch.where(site["mask"], term, -log(term.shape[values]))
            total = total + sign * over_plates(term, dim, what.depth, keepdim=True)
    return total.reshape(-1, k * len(x)).logsumexp(0).view(k, len(x))


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
    k = 1 if what.certain else k
    best = mean_score(iwae, "lower_bound", k=k)
    return {"log_likelihood": best, "elbo": mean_score(elbo, "lower_bound", k=k), "iwae": best}, iwae


def density_scores(log_prob: Callable[..., Tensor], x: Tensor, *rest: Tensor) -> tuple[dict[str, Score], Tensor]:
    """``log_likelihood`` of a tractable density, and its value for each datum."""
    rows = max(ROWS * 100 // max(prod(x.shape[1:]), 1), 1)
    with torch.no_grad():
        parts = [log_prob(*(t[i : i + rows] for t in (x, *rest))) for i in range(0, len(x), rows)]
    values = torch.cat(parts)
    return {"log_likelihood": mean_score(values, "exact")}, values


def _sizes(sites: list[dict[str, Any]]) -> dict[str, int]:
    """The size of every plate by its name."""
    return {f.name: f.size for site in sites for f in site["cond_indep_stack"] if f.vectorized}
