"""The structure of a Pyro pair: its data plates, its latent variables, and whether its log-weights bound log p(x).

    log w = log p(x, z) - log q(z | x),  z ~ q(z | x)

Its expectation is a lower bound on log p(x) if q is a normalised distribution over the model's latent variables, with a
density where the model has densities. A point estimate of a continuous latent variable has no density, and
log p(x, z*) can lie above or below log p(x).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import biject_to

from pyrogen.errors import ConfigError
from pyrogen.protocols import Kind, Pair
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.pyro_tools.traces import (
    Site,
    batch_plates,
    check_batch_dependence,
    check_shape,
    data_dim,
    is_delta,
    log_prob,
    sample_sites,
)
from pyrogen.random import scoped_seed

Program = Callable[..., Any]


@dataclass(frozen=True)
class PairStructure:
    """The structure of a pair, found by running it on one datum and on two.

    Args:
        depth: the deepest nesting of plates.
        data: the names of the data plates, whose size follows the number of data.
        max_rows: the most data that these plates admit; ``None`` for any number.
        probability: whether the observed sites have a ``mass`` or a ``density``.
        latent: whether there is a latent variable that is drawn, not marginalised.
        shared: whether there is a global latent variable, outside the data plate.
        deterministic_guide: whether all draws of the guide are equal, so that one is enough.
        no_bound_reason: why the log-weights do not bound log p(x); ``None`` if their mean is a lower bound.
    """

    depth: int
    data: frozenset[str]
    max_rows: int | None
    probability: str
    latent: bool
    shared: bool
    deterministic_guide: bool
    no_bound_reason: str | None = None

    @property
    def score_kind(self) -> Kind:
        """How the value of a pair relates to log p(x)."""
        if not self.latent and self.no_bound_reason is None:
            return "exact"
        return "lower_bound" if self.no_bound_reason is None else "estimate"


def programs(pair: Pair) -> tuple[Program, Program]:
    """Return model and guide, wrapped to drop side information that they do not take."""
    return drop_extra_args(pair.model), drop_extra_args(pair.guide)


def pair_structure(pair: Pair, x: Tensor, *rest: Tensor) -> PairStructure:
    """Find the structure of a pair by running it on one and on two copies of the first datum.

    Raises:
        ConfigError: if the pair has no likelihood per datum; the message names the site responsible.
    """
    pair_programs = programs(pair)
    one_row, two_rows = ([t[:1].expand(n, *t.shape[1:]) for t in (x, *rest)] for n in (1, 2))
    traces_of_one = [sample_sites(poutine.trace(f).get_trace(*one_row)) for f in pair_programs]
    joint, given = (poutine.trace(f).get_trace(*two_rows) for f in pair_programs)
    with scoped_seed(0):
        second = poutine.trace(pair_programs[1]).get_trace(*two_rows)
    model, guide = sample_sites(joint), sample_sites(given)
    data = batch_plates(traces_of_one[0], model, (1, 2)) | batch_plates(traces_of_one[1], guide, (1, 2))
    observed = [s for s in model if s["is_observed"] and type(s["fn"]).__name__ != "Unit"]
    _check_observed(observed, data)
    _check_amortised(traces_of_one[1], guide, data)
    latent_sites = _latent(joint, given, data)
    for small, large in zip(traces_of_one, (model, guide), strict=True):
        check_batch_dependence(small, large, data)
        for site in large:
            check_shape(site, log_prob(site).shape)
            _check_whole(site, data)
    frames = [f for site in (*model, *guide) for f in site["cond_indep_stack"] if f.vectorized]
    full = [f.full_size for f in frames if f.name in data and f.full_size not in (None, f.size)]
    random_sites = {s["name"] for s in guide if s["name"] not in second.nodes or not _same(s, second.nodes[s["name"]])}
    return PairStructure(
        depth=max((-f.dim for f in frames), default=0),
        data=data,
        max_rows=min(full, default=None),
        probability="mass" if all(s["fn"].support.is_discrete for s in observed) else "density",
        latent=bool(latent_sites),
        shared=any(data_dim(site, data) is None for site in latent_sites),
        deterministic_guide=all(is_delta(site["fn"]) and site["name"] not in random_sites for site in guide),
        no_bound_reason=explain_no_bound(joint, given, random_sites),
    )


def _check_observed(observed: list[Site], data: frozenset[str]) -> None:
    if not observed:
        raise ConfigError("the model has no observed site: pass the data to a site with obs=x")
    for site in observed:
        if data_dim(site, data) is None:
            raise ConfigError(
                f"site {site['name']!r} is observed outside a data plate: wrap it in `with pyro.plate('data', len(x))`"
            )


def _check_amortised(small: list[Site], guide: list[Site], data: frozenset[str]) -> None:
    sizes = [{f.name: f.size for s in sites for f in s["cond_indep_stack"]} for sites in (small, guide)]
    for site in guide:
        fixed = [
            sizes[1][f.name]
            for f in site["cond_indep_stack"]
            if f.name in data and (sizes[0].get(f.name), sizes[1][f.name]) != (1, 2)
        ]
        if fixed:
            raise ConfigError(
                f"the guide has a {site['name'].removesuffix('_unconstrained')!r} for each of {fixed[0]} training "
                f"data: it does not apply to other data (amortise it: make it depend on x)"
            )


def _check_whole(site: Site, data: frozenset[str]) -> None:
    """Raise if a plate within a datum is subsampled."""
    if data_dim(site, data) is None:
        return
    for frame in site["cond_indep_stack"]:
        if frame.vectorized and frame.name not in data and frame.full_size not in (None, frame.size):
            raise ConfigError(
                f"site {site['name']!r} is in plate {frame.name!r}, which subsamples {frame.size} of "
                f"{frame.full_size}: the likelihood needs all {frame.full_size}"
            )


def _latent(joint: Trace, given: Trace, data: frozenset[str]) -> list[Site]:
    """Return the model's latent variables that the guide draws; raise if one of the others cannot be marginalised."""
    latent_sites = []
    for site in sample_sites(joint):
        name, mode = site["name"], site["infer"].get("enumerate")
        if site["is_observed"]:
            continue
        if name in given.nodes:
            if data_dim(site, data) != data_dim(given.nodes[name], data):
                raise ConfigError(f"site {name!r} is in the data plate of only one of model and guide: put it in both")
            latent_sites.append(site)
        elif mode == "parallel":
            if data_dim(site, data) is None:
                raise ConfigError(f"site {name!r} is enumerated outside the data plate: no value for each datum")
            if site["infer"].get("num_samples"):
                raise ConfigError(f"site {name!r} is enumerated by num_samples draws: omit that to sum over all values")
            if not site["fn"].has_enumerate_support:
                raise ConfigError(
                    f"site {name!r} is marked for enumeration, but {type(site['fn']).__name__} cannot be enumerated"
                )
        elif mode == "sequential":
            raise ConfigError(f"site {name!r} is enumerated sequentially; mark it infer={{'enumerate': 'parallel'}}")
        else:
            raise ConfigError(f"site {name!r} is latent in the model but not in the guide, and is not enumerated")
    return latent_sites


def _same(a: Site, b: Site) -> bool:
    """Whether two draws of a site are equal."""
    return torch.equal(torch.as_tensor(a["value"]), torch.as_tensor(b["value"]))


def explain_no_bound(joint: Trace, given: Trace, random_sites: set[str]) -> str | None:
    """Return why the mean of log w is not a lower bound on log p(x); ``None`` if it is one.

    Args:
        joint, given: the traces of the model and of the guide.
        random_sites: the names of the guide's sites whose value differs between draws.

    A guide may draw auxiliary variables u and set the model's z = f(u) by ``Delta`` sites that carry log |det df/du|,
    as Pyro's autoguides do. That is a density of z if f is one-to-one: the numbers of unconstrained dimensions of u
    and z must be equal.
    """
    auxiliary = {True: 0, False: 0}  # dimensions of auxiliary variables and of Delta sites; discrete or continuous
    derived = {True: 0, False: 0}
    for site in sample_sites(given):
        name, fn, p = site["name"], site["fn"], joint.nodes.get(site["name"])
        if site["is_observed"]:
            factor = type(fn).__name__ == "Unit"
            return f"the guide {'has a pyro.factor' if factor else 'observes a site'}, {name!r}: it is not normalised"
        if p is None or p["type"] != "sample":
            if not is_delta(fn):
                auxiliary[fn.support.is_discrete] += _dims(site["value"], fn.support)
            continue
        if p["is_observed"]:
            return f"the guide draws {name!r}, which the model observes"
        if not _equally_masked(p, site):
            return f"{name!r} has different masks in the guide and in the model"
        discrete = p["fn"].support.is_discrete
        if not is_delta(fn):
            if fn.support.is_discrete != discrete:
                return f"{name!r} has a {'density' if discrete else 'mass'} in the guide, but not in the model"
        elif name in random_sites:
            derived[discrete] += _dims(site["value"], p["fn"].support)
        elif not discrete and site["value"].numel():
            return f"the guide has a point estimate of {name!r}: log p(x, z*) is not a bound"
    if auxiliary[False] == derived[False] and auxiliary[True] in (0, derived[True]):
        return None
    if not any(auxiliary.values()):
        return "the guide draws a continuous variable at random outside its sites: its density is not known"
    values = f"{sum(auxiliary.values())} auxiliary values for {sum(derived.values())} latent values"
    return f"the guide draws {values}: its density is not known"


def _dims(value: Tensor, support: Any) -> int:
    """The number of unconstrained dimensions of a value."""
    if support.is_discrete:
        return value.numel()
    try:
        return int(biject_to(support).inv(value).numel())
    except NotImplementedError:
        return value.numel()


def _equally_masked(p: Site, q: Site) -> bool:
    """Whether two sites have the same mask."""
    masks = [torch.as_tensor(True if site["mask"] is None else site["mask"]) for site in (p, q)]
    a, b = torch.broadcast_tensors(*masks)
    return torch.equal(a, b.to(a.device))
