"""What the sites of a Pyro trace say of each datum, and traces of many draws: the ground of every likelihood bound.

Draws are rows: a batch is repeated k times, so that any model of independent rows takes them, convolutional ones
too, in one call.
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


def samples(trace: Trace) -> list[Site]:
    """The sites with a probability: neither subsamples nor ``pyro.deterministic``."""
    nodes = [trace.nodes[name] for name in (*trace.stochastic_nodes, *trace.observation_nodes)]
    return [s for s in nodes if type(s["fn"]).__name__ != "_Subsample" and not s["infer"].get("_deterministic")]


def data_plate(
    observed: Iterable[Sequence[CondIndepStackFrame]], rows: int | None, k: int = 1
) -> CondIndepStackFrame | None:
    """The plate of the data: the one whose size follows the batch.

    Args:
        observed: the ``cond_indep_stack`` of each observed site, outermost plate first.
        rows: how many rows the batch's first tensor has; ``None`` where there is none.
        k: how many particles stand as rows in the plates.

    Returns:
        Of the vectorised plates around observed sites the outermost of size ``k * rows``; where there is none, the
        largest, and of equally large ones the outermost. ``None`` without a plate. Pyro's own plate of particles does
        not count.
    """
    plates: list[tuple[int, CondIndepStackFrame]] = []  # with how many stand around each
    for stack in observed:
        frames = [f for f in stack if f.vectorized and f.name != "num_particles_vectorized"]
        plates += enumerate(frames)
    plates.sort(key=lambda place: place[0])  # stable: of one depth in the order of the sites
    if rows is not None:
        matching = next((f for _, f in plates if f.size == k * rows), None)
        if matching is not None:
            return matching
    return max((f for _, f in plates), key=lambda f: f.size, default=None)


def data_dim(site: Site, data: Collection[str]) -> int | None:
    """The dimension of the data plate around a site; ``None`` if it is in none.

    Args:
        site: of a trace.
        data: the names of the plates of the data.
    """
    return next((f.dim for f in site["cond_indep_stack"] if f.name in data), None)


def check_shape(site: Site, shape: Sequence[int]) -> None:
    """Refuse a site whose log-probability has other dimensions than its plates: it would count more than once.

    Pyro's own check, made whether or not Pyro's validation is on; it looks at shapes alone.

    Args:
        site: of a trace.
        shape: of its log-probability, without dimensions of enumeration.

    Raises:
        ConfigError: naming the site, what was found and what its plates say.
    """
    try:
        check_site_shape({**site, "log_prob": SimpleNamespace(shape=shape)}, inf)
    except ValueError as error:
        frames = [f for f in site["cond_indep_stack"] if f.vectorized]
        if len({f.dim for f in frames}) < len(frames):
            raise ConfigError(
                f"site {site['name']!r} stands in two plates of one dimension: pass them `dim=`"
            ) from error
        expected = [1] * max((-f.dim for f in frames), default=0)
        for frame in frames:
            expected[frame.dim] = frame.size
        value = site["value"]
        raise ConfigError(
            f"site {site['name']!r} has a log-probability of shape {tuple(shape)} where its plates "
            f"({', '.join(f.name for f in frames) or 'none'}) say {tuple(expected)}: its distribution has batch shape "
            f"{tuple(site['fn'].batch_shape)}, its value shape {tuple(getattr(value, 'shape', ()))}; "
            f"give obs= the batch shape, or use .to_event(…) or another plate"
        ) from error


def following(few: Iterable[Site], more: Iterable[Site], rows: tuple[int, int]) -> frozenset[str]:
    """The names of the plates whose size follows the number of rows.

    Args:
        few, more: the sites of two runs of the same programs.
        rows: how many rows each run had.
    """
    sizes = [{f.name: f.size for s in sites for f in s["cond_indep_stack"] if f.vectorized} for sites in (few, more)]
    return frozenset(name for name, size in sizes[1].items() if (sizes[0].get(name), size) == rows)


def check_follows(few: Iterable[Site], more: Iterable[Site], data: Collection[str]) -> None:
    """Refuse a site that grows with the number of rows other than by the plate of the data.

    Its event holds something for each datum, but its probability is one for all: it would be taken for a variable
    that all data share.

    Args:
        few, more: the sites of two runs of one program on different numbers of rows.
        data: the names of the plates of the data.

    Raises:
        ConfigError: naming the site.
    """
    known = {site["name"]: site for site in few}
    for site in more:
        name, other = site["name"], known.get(site["name"])
        place = "put it into the plate of the data, `with pyro.plate('data', len(x))`, and take less into .to_event(…)"
        if other is None:
            raise ConfigError(f"site {name!r} is there only where there are more rows: {place}")
        before, after = other["fn"].event_shape, site["fn"].event_shape
        if before != after:
            raise ConfigError(
                f"the event of site {name!r} follows the number of rows, {tuple(before)} became {tuple(after)}: {place}"
            )
        if data_dim(site, data) is None and other["fn"].batch_shape != site["fn"].batch_shape:
            raise ConfigError(f"site {name!r} follows the number of rows outside the plate of the data: {place}")


def is_delta(fn: Any) -> bool:
    """Whether a distribution is a ``Delta``, however expanded, masked or reinterpreted."""
    while not isinstance(fn, Delta):
        fn = getattr(fn, "base_dist", None)
        if fn is None:
            return False
    return True


def over_plates(term: Tensor, dim: int, depth: int, keepdim: bool = False) -> Tensor:
    """Sum a site's term over every plate but that of the data.

    Args:
        term: ``(…, *batch)``, of at most ``depth`` plates; dimensions to the left of them stay.
        dim: the data plate's, negative.
        depth: how many dimensions belong to plates.
        keepdim: keep the others as dimensions of size 1.
    """
    inner = [d for d in range(-depth, 0) if d != dim and -d <= term.ndim]
    return term.sum(inner, keepdim=keepdim) if inner else term


def log_prob(site: Site) -> Tensor:
    """The log-probability of a site's value, neither scaled nor masked; of a draw made at once, as it was then."""
    known: Tensor | None = site.get("unscaled_log_prob")
    return site["fn"].log_prob(site["value"]) if known is None else known


def particles(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    batch: Any,
    k: int,
    at_once: bool = False,
    data: Collection[str] | None = None,
) -> tuple[Trace, Trace]:
    """Traces of the model and the guide in which the rows of the batch stand k times, one particle after another.

    Args:
        model, guide: the pair.
        batch: its arguments; tensors have a row for each datum.
        k: how many draws for each datum.
        at_once: run a guide with a single latent variable once, on the batch itself, and draw k times from it.
        data: the names of the plates of the data, where they are known; else that of a latent variable is one.
    """
    many = batch if k == 1 else tuple(_repeated(t, k) for t in batch)
    given = _at_once(guide, k, batch, data) if at_once and k > 1 else None
    given = given or poutine.trace(guide).get_trace(*many)
    with _Particles(k):
        return poutine.trace(poutine.replay(model, trace=given)).get_trace(*many), given


def _repeated(t: Any, k: int) -> Any:
    """All rows k times over, one particle after another."""
    return t.expand(k, *t.shape).flatten(0, 1) if isinstance(t, Tensor) and t.ndim else t


def _at_once(guide: Callable[..., Any], k: int, batch: tuple[Any, ...], data: Collection[str] | None) -> Trace | None:
    """The trace of a guide with a single latent variable, run once and drawn from k times; ``None`` for others."""
    draws = _ManyDraws(k, data)
    try:
        with draws:
            given = poutine.trace(guide).get_trace(*batch)
    except _NotSingle:
        return None
    if draws.value is None:
        return None
    for name in [n for n, s in given.nodes.items() if type(s.get("fn")).__name__ == "_Subsample"]:
        given.remove_node(name)  # the model's plate has k times as many rows
    for site in samples(given):
        site["value"], site["unscaled_log_prob"] = draws.value.flatten(0, 1), draws.log_prob.flatten(0, 1)
        site["mask"] = _repeated(site["mask"], k)
    return given


class _NotSingle(Exception):
    """The guide has another latent variable, or one outside the outermost plate."""


class _ManyDraws(Messenger):
    """Draws k values of a guide's only latent variable, ``value`` ``(k, n, …)``; the guide goes on with the first."""

    def __init__(self, k: int, data: Collection[str] | None) -> None:
        super().__init__()
        self.k, self.data = k, data
        self.value: Tensor | None = None

    def _pyro_sample(self, msg: Any) -> None:
        fn, plates = msg["fn"], [f for f in msg["cond_indep_stack"] if f.vectorized]
        if msg["done"] or type(fn).__name__ == "_Subsample":
            return
        if self.value is not None or msg["is_observed"] or not plates or -plates[0].dim != len(fn.batch_shape):
            raise _NotSingle
        if self.data is not None and plates[0].name not in self.data:
            raise _NotSingle
        if is_delta(fn):  # a value that may come of chance elsewhere in the guide
            raise _NotSingle
        self.value = fn.rsample((self.k,)) if fn.has_rsample else fn.sample((self.k,))
        # Now, while they are the values that a flow remembers the inverse of.
        self.log_prob = fn.log_prob(self.value)
        check_shape({**msg, "value": self.value[0]}, self.log_prob.shape[1:])
        msg["value"], msg["done"] = self.value[0], True


class _Particles(Messenger):
    """Says of a plate whose rows are k particles of n data that it holds n: whoever counts data counts those."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def _pyro_sample(self, msg: Any) -> None:
        stack = list(msg["cond_indep_stack"])
        outer = next((i for i, f in enumerate(stack) if f.vectorized), None)
        if self.k > 1 and outer is not None and stack[outer].full_size in (None, stack[outer].size):
            stack[outer] = stack[outer]._replace(full_size=stack[outer].size // self.k)
            msg["cond_indep_stack"] = tuple(stack)
