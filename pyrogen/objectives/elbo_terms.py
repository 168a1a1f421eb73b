"""The terms of the ELBO of each datum, from traces of model and guide; the objectives are functions of them."""

import sys
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from pyrogen.errors import ConfigError
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.pyro_tools.parameters import modules_of
from pyrogen.pyro_tools.programs import Program
from pyrogen.pyro_tools.traces import (
    Site,
    batch_plates,
    check_batch_dependence,
    check_shape,
    data_dim,
    data_plate,
    log_prob,
    sample_sites,
    sum_plates,
)
from pyrogen.random import preserved_random_state


@dataclass(frozen=True)
class ElboTerms:
    """The terms of the ELBO for k draws from the guide and n data.

    Args:
        observed: log p(x | z), ``(k, n)``, nats.
        latent: for each latent variable in the data plate its KL divergence, ``(groups, k, n)``, nats, and the number
            of dimensions in a group. The divergence is in closed form, with a group for each dimension where the
            distributions factorise; else it is the one-draw estimate log q - log p in a single group.
        shared: log p - log q of the sites outside the data plate, a scalar, nats.
        score: log q of the variables without a reparameterised sampler, ``(k, n)``; ``None`` if there are none.
        scale: N / n under ``plate(N, subsample_size=n)``, else 1.
    """

    observed: Tensor
    latent: list[tuple[Tensor, int]]
    shared: Tensor
    score: Tensor | None
    scale: float


def rows_of(batch: tuple[Any, ...]) -> int | None:
    """The number of rows of the first tensor of a batch that has a dimension; ``None`` if there is none."""
    return next((len(t) for t in batch if isinstance(t, Tensor) and t.ndim), None)


class RowPlates:
    """Finds the plates whose size follows the rows of the batch, by running model and guide on one and on two rows.

    The result is cached for each pair. Nothing is read from the device, and random state and networks are restored.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, dict[Any, frozenset[str] | None]] = WeakKeyDictionary()

    def __call__(self, owner: Any, model: Program, guide: Program, batch: tuple[Any, ...]) -> frozenset[str] | None:
        """The names of the plates; ``None`` if the pair cannot run on other rows.

        Args:
            owner: the cache entry lives as long as this object.
            model, guide, batch: the pair and its arguments.

        Raises:
            ConfigError: if the shape of a site outside those plates follows the rows.
        """
        known = self._known.setdefault(owner, {})
        pair = [(getattr(f, "__func__", f), id(getattr(f, "__self__", None))) for f in (model, guide)]
        kinds = [(t.shape[1:], t.dtype) if isinstance(t, Tensor) else type(t) for t in batch]
        key = (*pair, *kinds)
        if key not in known:
            if _tracing(batch):  # the runs must not enter a graph; an eager call has cached the pair, or sizes decide
                return None
            known[key] = self._look(model, guide, batch)
        return known[key]

    @staticmethod
    def _look(model: Program, guide: Program, batch: tuple[Any, ...]) -> frozenset[str] | None:
        networks = [*modules_of(model, "model").values(), *modules_of(guide, "guide").values()]
        data: frozenset[str] = frozenset()
        runs = []
        with torch.no_grad(), preserved_random_state(), eval_mode(*networks):
            for program in (guide, model):  # lazily created parameters must be created for the whole batch
                _quiet_trace(program, batch)
            for program in (model, guide):
                try:
                    few, more = (sample_sites(_quiet_trace(program, _of_rows(batch, n))) for n in (1, 2))
                except Exception:  # a program made for a fixed number of rows may raise anything
                    return None
                data |= batch_plates(few, more, (1, 2))
                runs.append((few, more))
        for few, more in runs:
            check_batch_dependence(few, more, data)
        return data


def _tracing(batch: tuple[Any, ...]) -> bool:
    """Whether a graph is being made; torch's tracer takes a second to import, and who traces has imported it."""
    tracer = sys.modules.get("torch.fx.experimental.proxy_tensor")
    if tracer is None:
        return False
    return tracer.get_proxy_mode() is not None or any(isinstance(t, tracer.FakeTensor) for t in batch)


def ambiguous(joint: Trace, given: Trace, rows: int | None) -> bool:
    """Whether plates of several names have the size of the batch, so that size does not identify the data plate."""
    frames = [f for s in (*sample_sites(joint), *sample_sites(given)) for f in s["cond_indep_stack"] if f.vectorized]
    return len({f.name for f in frames if f.size == rows}) > 1


def _of_rows(batch: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    """The batch with its first row n times in place of its rows."""
    return tuple(t[:1].expand(n, *t.shape[1:]) if isinstance(t, Tensor) and t.ndim else t for t in batch)


def _quiet_trace(program: Program, batch: tuple[Any, ...]) -> Trace:
    trace: Trace = poutine.block(poutine.trace(program).get_trace)(*batch)
    return trace


def collect(
    joint: Trace,
    given: Trace,
    k: int,
    analytic: bool,
    rows: int | None = None,
    following: frozenset[str] | None = None,
) -> ElboTerms:
    """The terms of the ELBO from the traces that ``pyro_tools.traces.particles`` returns.

    Args:
        joint, given: traces of the model and of the guide.
        k: the number of particles in them.
        analytic: use closed-form KL divergences where they exist and both draw their latent variables in one order.
        rows: the number of rows of the batch; ``None`` without a tensor.
        following: the names of plates known to follow the rows; ``None`` to identify them by size.

    Raises:
        ConfigError: as ``Objective``.
    """
    model, guide = sample_sites(joint), sample_sites(given)
    data = _DataPlate(model, guide, k, rows, following)
    prior = {site["name"]: site for site in model if not site["is_observed"]}
    in_order = list(prior) == [site["name"] for site in guide if site["name"] in prior]
    missing = sorted(prior.keys() - {site["name"] for site in guide})
    if missing:
        raise ConfigError(
            f"site {missing[0]!r} is latent in the model but not in the guide; to sum it out, use TraceEnum_ELBO"
        )
    observed, shared = torch.zeros(()), torch.zeros(())
    latent: list[tuple[Tensor, int]] = []
    score: Tensor | None = None
    for site in model:
        if site["is_observed"]:
            if data.has(site):
                observed = observed + data.rows(site, log_prob(site)[None])[0]
            else:
                shared = shared + _total(site)
    for q in guide:
        p, drawn = prior.get(q["name"]), q["fn"].has_rsample
        if not data.has(q):
            if not drawn:
                raise ConfigError(f"site {q['name']!r}, shared by all data, cannot be reparameterised: use Trace_ELBO")
            shared = shared - _total(q) + (_total(p) if p else 0.0)
            continue
        closed = _closed_form(q["fn"], p["fn"]) if analytic and in_order and p else None
        if closed is not None:
            latent.append((data.rows(q, closed[0]), closed[1]))
        else:
            log_ratio = data.rows(q, log_prob(q)[None])
            if p is not None:
                log_ratio = log_ratio - data.rows(p, log_prob(p)[None])
            latent.append((log_ratio, max(q["fn"].event_shape.numel(), 1)))
        if not drawn:
            log_q = data.rows(q, log_prob(q)[None]).sum(0)
            score = log_q if score is None else score + log_q
    return ElboTerms(observed, latent, shared, score, data.scale)


class _DataPlate:
    """The data plate of a pair; its name may differ between model and guide, its size may not."""

    def __init__(
        self, model: list[Site], guide: list[Site], k: int, rows: int | None, following: frozenset[str] | None
    ) -> None:
        frame = data_plate([s["cond_indep_stack"] for s in model if s["is_observed"]], rows, k)
        self.k, self.names, self.scale = k, frozenset[str](), 1.0
        if k > 1:
            _check_particles(frame, k, rows, following)
        if frame is not None:
            size = frame.size
            others = [[f for f in s["cond_indep_stack"] if f.vectorized] for s in guide]
            alike = [[f for f in stack if f.size in (size, size // k)] for stack in others]
            same = frozenset(next((f.name for f in a if f.dim == frame.dim), a[0].name) for a in alike if a)
            known = following is not None and frame.name in following
            self.names = following if following and known else frozenset({frame.name}) | same
            self.scale = (frame.full_size or size) / (size // k)
        if k > 1 and following is None:
            self._check_outside([*model, *guide], k * (rows or 0))

    def _check_outside(self, sites: list[Site], rows: int) -> None:
        for site in sites:
            if not self.has(site) and rows in site["value"].shape:
                raise ConfigError(
                    f"the shape of site {site['name']!r}, outside the data plate, seems to depend on the number of "
                    f"rows: use one particle"
                )

    def has(self, site: Site) -> bool:
        return data_dim(site, self.names) is not None

    def rows(self, site: Site, term: Tensor) -> Tensor:
        """A site's term ``(groups, *batch)``, scaled, masked and summed over other plates: ``(groups, k, n)``."""
        if "unscaled_log_prob" not in site:  # else its shape was checked when it was sampled
            check_shape(site, term.shape[1:])
        frame = next(f for f in site["cond_indep_stack"] if f.name in self.names)
        subsampling = max((frame.full_size or frame.size) / frame.size, 1.0)
        term = scale_and_mask(term, site["scale"] / subsampling, site["mask"])
        return sum_plates(term, frame.dim, term.ndim - 1).reshape(len(term), self.k, -1)


def _check_particles(frame: Any, k: int, rows: int | None, following: frozenset[str] | None) -> None:
    """Raise ``ConfigError`` if k particles cannot be separated as rows of the data plate."""
    if frame is None:
        raise ConfigError(
            f"{k} particles are vectorised over rows of the batch, but no data plate contains the observed site: "
            f"wrap it in `with pyro.plate('data', len(x))`"
        )
    if rows is None or frame.size != k * rows or (following is not None and frame.name not in following):
        raise ConfigError(
            f"{k} particles are vectorised over rows of the batch, but plate {frame.name!r} of {frame.size} does not "
            f"have the size of its {rows} rows: use one particle, or a plate of len(x)"
        )


def _total(site: Site) -> Tensor:
    term = log_prob(site)
    check_shape(site, term.shape)
    total: Tensor = scale_and_mask(term, site["scale"], site["mask"]).sum()
    return total


def _closed_form(q: Any, p: Any) -> tuple[Tensor, int] | None:
    """KL(q ‖ p), ``(groups, *batch)``, and the number of dimensions of a group; ``None`` without a closed form."""
    if isinstance(q, Delta):  # Pyro's KL of a Delta ignores its log_density
        return None
    inner = q.reinterpreted_batch_ndims if isinstance(q, Independent) else 0
    try:
        if inner and isinstance(p, Independent) and p.reinterpreted_batch_ndims == inner:
            kl = kl_divergence(q.base_dist, p.base_dist)
            return kl.flatten(-inner).movedim(-1, 0), max(q.base_dist.event_shape.numel(), 1)
        return kl_divergence(q, p)[None], max(q.event_shape.numel(), 1)
    except NotImplementedError:
        return None
