"""Per-datum terms of Pyro traces, and traces with several particles per datum: the basis of all likelihood bounds.

Particles are rows of the batch: it is repeated k times, so that any model of independent rows, including
convolutional ones, evaluates all particles in one call.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from types import SimpleNamespace
from typing import Any

from pyro import poutine
from pyro.distributions import Delta
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.messenger import Messenger
from pyro.util import check_site_shape
from torch import Tensor

from pyrogen.errors import ConfigError

Site = dict[str, Any]


def sample_sites(trace: Trace) -> list[Site]:
    """Return the sample sites with a probability: neither subsamples nor ``pyro.deterministic``."""
    nodes = [trace.nodes[name] for name in (*trace.stochastic_nodes, *trace.observation_nodes)]
    return [s for s in nodes if type(s["fn"]).__name__ != "_Subsample" and not s["infer"].get("_deterministic")]


def data_plate(
    observed: Iterable[Sequence[CondIndepStackFrame]], rows: int | None, k: int = 1
) -> CondIndepStackFrame | None:
    """Find the data plate, the one whose size follows the batch.

    Args:
        observed: the ``cond_indep_stack`` of each observed site, outermost plate first.
        rows: the number of rows of the batch's first tensor; ``None`` if there is none.
        k: the number of particles, which multiply the rows of the plates.

    Returns:
        The outermost vectorised plate of size ``k * rows`` around an observed site; if there is none, the largest
        plate, the outermost of several. ``None`` without a plate. Pyro's own plate of particles does not count.
    """
    plates: list[tuple[int, CondIndepStackFrame]] = []  # each with its nesting depth
    for stack in observed:
        frames = [f for f in stack if f.vectorized and f.name != "num_particles_vectorized"]
        plates += enumerate(frames)
    plates.sort(key=lambda plate: plate[0])  # stable: plates of one depth stay in the order of the sites
    if rows is not None:
        matching = next((f for _, f in plates if f.size == k * rows), None)
        if matching is not None:
            return matching
    return max((f for _, f in plates), key=lambda f: f.size, default=None)


def data_dim(site: Site, data: Collection[str]) -> int | None:
    """Return the dimension of the data plate around a site; ``None`` if it is in none.

    Args:
        site: a site of a trace.
        data: the names of the data plates.
    """
    return next((f.dim for f in site["cond_indep_stack"] if f.name in data), None)


def check_shape(site: Site, shape: Sequence[int]) -> None:
    """Raise if a site's log-probability has dimensions that its plates do not declare.

    Such a term would be counted more than once. This is Pyro's own check of shapes, made whether or not Pyro's
    validation is on.

    Args:
        site: a site of a trace.
        shape: the shape of its log-probability, without enumeration dimensions.

    Raises:
        ConfigError: naming the site, the shape found and the shape that its plates declare.
    """
    try:
        check_site_shape({**site, "log_prob": SimpleNamespace(shape=shape)}, inf)
    except ValueError as error:
        frames = [f for f in site["cond_indep_stack"] if f.vectorized]
        if len({f.dim for f in frames}) < len(frames):
            raise ConfigError(
                f"site {site['name']!r} is in two plates of the same dimension: give each its own `dim=`"
            ) from error
        expected = [1] * max((-f.dim for f in frames), default=0)
        for frame in frames:
            expected[frame.dim] = frame.size
        value = site["value"]
        raise ConfigError(
            f"site {site['name']!r} has a log-probability of shape {tuple(shape)}, but its plates "
            f"({', '.join(f.name for f in frames) or 'none'}) imply {tuple(expected)}: its distribution has "
            f"batch shape {tuple(site['fn'].batch_shape)}, its value shape {tuple(getattr(value, 'shape', ()))}; "
            f"give obs= that shape, or use .to_event(…) or another plate"
        ) from error


def batch_plates(small: Iterable[Site], large: Iterable[Site], rows: tuple[int, int]) -> frozenset[str]:
    """Return the names of the plates whose size equals the number of rows in both runs.

    Args:
        few, more: the sites of two runs of the same programs.
        rows: the number of rows in each run.
    """
    sizes = [{f.name: f.size for s in sites for f in s["cond_indep_stack"] if f.vectorized} for sites in (small, large)]
    return frozenset(name for name, size in sizes[1].items() if (sizes[0].get(name), size) == rows)


def check_batch_dependence(small: Iterable[Site], large: Iterable[Site], data: Collection[str]) -> None:
    """Raise if a site depends on the batch size other than through the data plate.

    Such a site has values for each datum, but a single probability for all of them, and would be mistaken for a
    global variable.

    Args:
        few, more: the sites of two runs of one program on different numbers of rows.
        data: the names of the plates of the data.

    Raises:
        ConfigError: naming the site.
    """
    known = {site["name"]: site for site in small}
    for site in large:
        name, other = site["name"], known.get(site["name"])
        advice = (
            "put it into the data plate, `with pyro.plate('data', len(x))`, and pass fewer dimensions to .to_event(…)"
        )
        if other is None:
            raise ConfigError(f"site {name!r} exists only for larger batches: {advice}")
        before, after = other["fn"].event_shape, site["fn"].event_shape
        if before != after:
            raise ConfigError(
                f"the event shape of site {name!r} depends on the batch size, "
                f"{tuple(before)} or {tuple(after)}: {advice}"
            )
        if data_dim(site, data) is None and other["fn"].batch_shape != site["fn"].batch_shape:
            raise ConfigError(f"site {name!r} depends on the batch size outside the data plate: {advice}")


def is_delta(fn: Any) -> bool:
    """Whether a distribution is a ``Delta``, however expanded, masked or reinterpreted."""
    while not isinstance(fn, Delta):
        fn = getattr(fn, "base_dist", None)
        if fn is None:
            return False
    return True


def sum_plates(term: Tensor, dim: int, depth: int, keepdim: bool = False) -> Tensor:
    """Sum a site's term over every plate except the data plate.

    Args:
        term: ``(…, *batch)`` with at most ``depth`` plate dimensions; dimensions left of them are kept.
        dim: the dimension of the data plate, negative.
        depth: the number of plate dimensions.
        keepdim: keep the summed dimensions with size 1.
    """
    inner = [d for d in range(-depth, 0) if d != dim and -d <= term.ndim]
    return term.sum(inner, keepdim=keepdim) if inner else term


def log_prob(site: Site, evaluate: Callable[[Any, Tensor], Tensor] | None = None) -> Tensor:
    """Return the log-probability of a site's value, neither scaled nor masked; one stored by the draw is reused.

    Args:
        site: a site of a trace.
        evaluate: ``evaluate(fn, value)``; by default ``fn.log_prob(value)``.
    """
    known: Tensor | None = site.get("unscaled_log_prob")
    if known is not None:
        return known
    found: Tensor = site["fn"].log_prob(site["value"]) if evaluate is None else evaluate(site["fn"], site["value"])
    return found


def trace_particles(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    batch: Any,
    k: int,
    run_guide_once: bool = False,
    data: Collection[str] | None = None,
) -> tuple[Trace, Trace]:
    """Trace the model and the guide with k particles per datum, as k consecutive copies of the batch.

    Args:
        model, guide: the pair.
        batch: its arguments; tensors have one row per datum.
        k: the number of draws per datum.
        run_guide_once: run a guide with a single latent variable once on the batch itself, and draw k times from it.
        data: the names of the data plates if known; else the outermost plate of a latent variable counts as one.

    Returns:
        The traces of the model and of the guide.
    """
    repeated = batch if k == 1 else tuple(_repeat_rows(t, k) for t in batch)
    given = _trace_guide_once(guide, k, batch, data) if run_guide_once and k > 1 else None
    given = given or poutine.trace(guide).get_trace(*repeated)
    with _ReportDataSize(k):
        return poutine.trace(poutine.replay(model, trace=given)).get_trace(*repeated), given


def _repeat_rows(t: Any, k: int) -> Any:
    """Repeat the whole batch k times along its first dimension."""
    return t.expand(k, *t.shape).flatten(0, 1) if isinstance(t, Tensor) and t.ndim else t


def _trace_guide_once(
    guide: Callable[..., Any], k: int, batch: tuple[Any, ...], data: Collection[str] | None
) -> Trace | None:
    """Trace a guide with a single latent variable once, with k draws of it; ``None`` for other guides."""
    draws = _DrawMany(k, data)
    try:
        with draws:
            given = poutine.trace(guide).get_trace(*batch)
    except _NotSingleLatent:
        return None
    if draws.value is None:
        return None
    for name in [n for n, s in given.nodes.items() if type(s.get("fn")).__name__ == "_Subsample"]:
        given.remove_node(name)  # the model's plate has k times as many rows, so its subsample must not be replayed
    for site in sample_sites(given):
        site["value"], site["unscaled_log_prob"] = draws.value.flatten(0, 1), draws.log_prob.flatten(0, 1)
        site["mask"] = _repeat_rows(site["mask"], k)
    return given


class _NotSingleLatent(Exception):
    """The guide has another latent variable, or one that is not in the data plate."""


class _DrawMany(Messenger):
    """Draws k values ``(k, n, …)`` of a guide's only latent variable; the guide continues with the first."""

    def __init__(self, k: int, data: Collection[str] | None) -> None:
        super().__init__()
        self.k, self.data = k, data
        self.value: Tensor | None = None

    def _pyro_sample(self, msg: Any) -> None:
        fn, plates = msg["fn"], [f for f in msg["cond_indep_stack"] if f.vectorized]
        if msg["done"] or type(fn).__name__ == "_Subsample":
            return
        if self.value is not None or msg["is_observed"] or not plates or -plates[0].dim != len(fn.batch_shape):
            raise _NotSingleLatent
        if self.data is not None and plates[0].name not in self.data:
            raise _NotSingleLatent
        if is_delta(fn):  # its value may be a function of random draws elsewhere in the guide
            raise _NotSingleLatent
        self.value = fn.rsample((self.k,)) if fn.has_rsample else fn.sample((self.k,))
        # Now, while the transforms of a flow still cache the inverse of these values.
        self.log_prob = fn.log_prob(self.value)
        check_shape({**msg, "value": self.value[0]}, self.log_prob.shape[1:])
        msg["value"], msg["done"] = self.value[0], True


class _ReportDataSize(Messenger):
    """Reports plate size n rather than k·n, so that data counts ignore particles."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def _pyro_sample(self, msg: Any) -> None:
        stack = list(msg["cond_indep_stack"])
        outer = next((i for i, f in enumerate(stack) if f.vectorized), None)
        if self.k > 1 and outer is not None and stack[outer].full_size in (None, stack[outer].size):
            stack[outer] = stack[outer]._replace(full_size=stack[outer].size // self.k)
            msg["cond_indep_stack"] = tuple(stack)
