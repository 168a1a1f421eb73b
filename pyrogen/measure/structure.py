"""What a Pyro pair is made of: which plates hold data, what is latent, and what its log-weights say of log p(x).

    log w = log p(x, z) - log q(z | x),  z ~ q(z | x)

is a lower bound in the mean where q is a normalised distribution over what the model draws: a density where the
model has densities. A point estimate of a continuous latent variable has no density, and log p(x, z*) lies above or
below log p(x) as it pleases.
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
from pyrogen.pyro_tools.traces import Site, check_follows, check_shape, data_dim, following, is_delta, log_prob, samples
from pyrogen.random import scoped_seed

Program = Callable[..., Any]


@dataclass(frozen=True)
class Structure:
    """What running a pair over one datum and over two tells.

    Args:
        depth: the deepest nesting of plates.
        data: the names of the plates whose size follows the number of data.
        most: how many data those plates hold at most; ``None`` for as many as are given.
        probability: whether the observed site has a mass or a density.
        latent: whether some latent variable is drawn, not summed out.
        shared: whether some latent variable lies outside the data plate.
        certain: whether the guide leaves nothing to chance, so that one draw says all.
        why: why the log-weights bound nothing; ``None`` where their mean is a lower bound.
    """

    depth: int
    data: frozenset[str]
    most: int | None
    probability: str
    latent: bool
    shared: bool
    certain: bool
    why: str | None = None

    @property
    def says(self) -> Kind:
        """What the value of a pair is to log p(x)."""
        if not self.latent and self.why is None:
            return "exact"
        return "lower_bound" if self.why is None else "estimate"


def programs(pair: Pair) -> tuple[Program, Program]:
    """The model and the guide, each blind to side information that it has no place for."""
    return drop_extra_args(pair.model), drop_extra_args(pair.guide)


def structure(pair: Pair, x: Tensor, *rest: Tensor) -> Structure:
    """Run the pair over the first datum, once and twice, and see what it is made of.

    Raises:
        ConfigError: if the pair has no likelihood for each datum; the message names the site at fault.
    """
    both = programs(pair)
    one, two = ([t[:1].expand(n, *t.shape[1:]) for t in (x, *rest)] for n in (1, 2))
    alone = [samples(poutine.trace(f).get_trace(*one)) for f in both]
    joint, given = (poutine.trace(f).get_trace(*two) for f in both)
    with scoped_seed(0):
        again = poutine.trace(both[1]).get_trace(*two)
    model, guide = samples(joint), samples(given)
    data = following(alone[0], model, (1, 2)) | following(alone[1], guide, (1, 2))
    observed = [s for s in model if s["is_observed"] and type(s["fn"]).__name__ != "Unit"]
    _check_observed(observed, data)
    _check_amortised(alone[1], guide, data)
    drawn = _latent(joint, given, data)
    for few, more in zip(alone, (model, guide), strict=True):
        check_follows(few, more, data)
        for site in more:
            check_shape(site, log_prob(site).shape)
            _check_whole(site, data)
    frames = [f for site in (*model, *guide) for f in site["cond_indep_stack"] if f.vectorized]
    full = [f.full_size for f in frames if f.name in data and f.full_size not in (None, f.size)]
    moving = {s["name"] for s in guide if s["name"] not in again.nodes or not _same(s, again.nodes[s["name"]])}
    return Structure(
        depth=max((-f.dim for f in frames), default=0),
        data=data,
        most=min(full, default=None),
        probability="mass" if all(s["fn"].support.is_discrete for s in observed) else "density",
        latent=bool(drawn),
        shared=any(data_dim(site, data) is None for site in drawn),
        certain=all(is_delta(site["fn"]) and site["name"] not in moving for site in guide),
        why=no_bound(joint, given, moving),
    )


def _check_observed(observed: list[Site], data: frozenset[str]) -> None:
    if not observed:
        raise ConfigError("the model observes nothing: pass the data to a site with obs=x")
    for site in observed:
        if data_dim(site, data) is None:
            raise ConfigError(
                f"site {site['name']!r} is observed outside a plate of the data: "
                f"wrap it in `with pyro.plate('data', len(x))`"
            )


def _check_amortised(few: list[Site], guide: list[Site], data: frozenset[str]) -> None:
    sizes = [{f.name: f.size for s in sites for f in s["cond_indep_stack"]} for sites in (few, guide)]
    for site in guide:
        fixed = [
            sizes[1][f.name]
            for f in site["cond_indep_stack"]
            if f.name in data and (sizes[0].get(f.name), sizes[1][f.name]) != (1, 2)
        ]
        if fixed:
            raise ConfigError(
                f"the guide has a {site['name'].removesuffix('_unconstrained')!r} for each of {fixed[0]} data it was "
                f"trained on: it cannot judge others (amortise it: let it depend on x)"
            )


def _check_whole(site: Site, data: frozenset[str]) -> None:
    """Refuse a plate within a datum of which only a part is looked at."""
    if data_dim(site, data) is None:
        return
    for frame in site["cond_indep_stack"]:
        if frame.vectorized and frame.name not in data and frame.full_size not in (None, frame.size):
            raise ConfigError(
                f"site {site['name']!r} is in plate {frame.name!r}, which takes {frame.size} of {frame.full_size}: "
                f"a likelihood needs all of them"
            )


def _latent(joint: Trace, given: Trace, data: frozenset[str]) -> list[Site]:
    """The model's latent variables that the guide draws; the others must be such as can be summed out."""
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
            if site["infer"].get("num_samples"):
                raise ConfigError(f"site {name!r} is enumerated by num_samples draws: leave that away to sum over all")
            if not site["fn"].has_enumerate_support:
                raise ConfigError(
                    f"site {name!r} is marked for enumeration, but {type(site['fn']).__name__} has no list of values"
                )
        elif how == "sequential":
            raise ConfigError(f"site {name!r} is enumerated sequentially; mark it infer={{'enumerate': 'parallel'}}")
        else:
            raise ConfigError(f"site {name!r} is latent in the model but not in the guide, and is not enumerated")
    return drawn


def _same(a: Site, b: Site) -> bool:
    """Whether two draws of a site are one value."""
    return torch.equal(torch.as_tensor(a["value"]), torch.as_tensor(b["value"]))


def no_bound(joint: Trace, given: Trace, moving: set[str]) -> str | None:
    """Why the mean of log w is no lower bound on log p(x); ``None`` where it is one.

    Args:
        joint, given: of the model and of the guide.
        moving: the names of the guide's sites whose value is not the same in each draw.

    A guide may draw auxiliary variables u and give the model's z = f(u) as ``Delta`` sites that carry
    log |det df/du|, as Pyro's own guides do. That is a density of z if there is one z for each u: the numbers of
    their dimensions, unconstrained, must agree.
    """
    free = {True: 0, False: 0}  # auxiliary values, and those that Delta sites make of them; discrete or not
    made = {True: 0, False: 0}
    for site in samples(given):
        name, fn, p = site["name"], site["fn"], joint.nodes.get(site["name"])
        if site["is_observed"]:
            factor = type(fn).__name__ == "Unit"
            return f"the guide {'has a pyro.factor' if factor else 'observes a site'}, {name!r}: it is not normalised"
        if p is None or p["type"] != "sample":
            if not is_delta(fn):
                free[fn.support.is_discrete] += _dims(site["value"], fn.support)
            continue
        if p["is_observed"]:
            return f"the guide draws {name!r}, which the model observes"
        if not _equally_masked(p, site):
            return f"{name!r} is masked otherwise in the guide than in the model"
        discrete = p["fn"].support.is_discrete
        if not is_delta(fn):
            if fn.support.is_discrete != discrete:
                return f"{name!r} has a {'density' if discrete else 'mass'} in the guide, but not in the model"
        elif name in moving:
            made[discrete] += _dims(site["value"], p["fn"].support)
        elif not discrete and site["value"].numel():
            return f"the guide has a point estimate of {name!r}: log p(x, z*) is no bound"
    if free[False] == made[False] and free[True] in (0, made[True]):
        return None
    if not any(free.values()):
        return "the guide draws a continuous variable by chance outside of its sites: its density is not known"
    return f"the guide draws {sum(free.values())} auxiliary values for {sum(made.values())} values: no density is known"


def _dims(value: Tensor, support: Any) -> int:
    """How many coordinates a value has, unconstrained."""
    if support.is_discrete:
        return value.numel()
    try:
        return int(biject_to(support).inv(value).numel())
    except NotImplementedError:
        return value.numel()


def _equally_masked(p: Site, q: Site) -> bool:
    """Whether two sites count for the same data."""
    masks = [torch.as_tensor(True if site["mask"] is None else site["mask"]) for site in (p, q)]
    a, b = torch.broadcast_tensors(*masks)
    return torch.equal(a, b.to(a.device))
