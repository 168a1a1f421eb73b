"""What draws from a guide say of each datum: the terms that every objective is made of."""

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


@dataclass(frozen=True)
class ElboTerms:
    """What k draws from the guide say of n data.

    Args:
        observed: log p(x | z), ``(k, n)``, nats.
        latent: for each latent variable its divergence and the number of dimensions that each group of it spans.
            The divergence is ``(groups, k, n)``: the KL in closed form, a group for each dimension where the
            distributions factorise; else its one-draw estimate log q - log p, in one group.
        shared: log p - log q of what lies outside the data plate, scalar.
        score: log q of what cannot be reparameterised, ``(k, n)``; ``None`` where all can.
        scale: how many data each of the n stands for, under ``plate(N, subsample_size=n)``.
    """

    observed: Tensor
    latent: list[tuple[Tensor, int]]
    shared: Tensor
    score: Tensor | None
    scale: float


def rows_of(batch: tuple[Any, ...]) -> int | None:
    """How many rows the first tensor of a batch has; ``None`` where there is none."""
    return next((len(t) for t in batch if isinstance(t, Tensor) and t.ndim), None)


class RowPlates:
    """Which plates of a pair follow the rows of the batch, seen once for a pair by running it on one and two rows.

    It needs no number from the device and leaves random state and networks as they were.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, dict[Any, frozenset[str] | None]] = WeakKeyDictionary()

    def __call__(self, owner: Any, model: Program, guide: Program, batch: tuple[Any, ...]) -> frozenset[str] | None:
        """The names of the plates; ``None`` if the pair cannot run on other rows.

        Args:
            owner: forgets with it.
            model, guide, batch: the pair and what it is run on.

        Raises:
            ConfigError: if a site follows the rows outside of those plates.
        """
        known = self._known.setdefault(owner, {})
        pair = [(getattr(f, "__func__", f), id(getattr(f, "__self__", None))) for f in (model, guide)]
        kinds = [(t.shape[1:], t.dtype) if isinstance(t, Tensor) else type(t) for t in batch]
        key = (*pair, *kinds)
        if key not in known:
            if _tracing(batch):  # a graph must not hold the runs; its pair was seen in an eager call, or goes by size
                return None
            known[key] = self._look(model, guide, batch)
        return known[key]

    @staticmethod
    def _look(model: Program, guide: Program, batch: tuple[Any, ...]) -> frozenset[str] | None:
        networks = [*modules_of(model, "model").values(), *modules_of(guide, "guide").values()]
        data: frozenset[str] = frozenset()
        runs = []
        with torch.no_grad(), torch.random.fork_rng(devices=_devices()), eval_mode(*networks):
            for program in (guide, model):  # what they make at first sight they make for the whole batch
                _quiet_trace(program, batch)
            for program in (model, guide):
                try:
                    few, more = (sample_sites(_quiet_trace(program, _of_rows(batch, n))) for n in (1, 2))
                except Exception:  # whatever a program says to fewer rows than it was made for
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


def _devices() -> range:
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)


def ambiguous(joint: Trace, given: Trace, rows: int | None) -> bool:
    """Whether plates of several names have as many rows as the batch, so that size does not tell which hold data."""
    frames = [f for s in (*sample_sites(joint), *sample_sites(given)) for f in s["cond_indep_stack"] if f.vectorized]
    return len({f.name for f in frames if f.size == rows}) > 1


def _of_rows(batch: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    """The first row n times over."""
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
    """The terms of the traces that ``particles`` gave.

    Args:
        joint, given: of the model and the guide.
        k: the particles in them.
        analytic: take the KL in closed form where there is one and both draw their latent variables in one order.
        rows: how many rows the batch has, if it has any.
        following: the plates known to follow the rows; by their size, if ``None``.

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
    """The plate of the data; in the guide it may have another name, but not another size."""

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
                    f"site {site['name']!r} seems to follow the number of rows outside the plate of the data: "
                    f"use one particle"
                )

    def has(self, site: Site) -> bool:
        return data_dim(site, self.names) is not None

    def rows(self, site: Site, term: Tensor) -> Tensor:
        """A site's term ``(groups, *batch)``, scaled and masked and summed over other plates: ``(groups, k, n)``."""
        if "unscaled_log_prob" not in site:  # else its shape was checked when it was drawn
            check_shape(site, term.shape[1:])
        frame = next(f for f in site["cond_indep_stack"] if f.name in self.names)
        subsampling = max((frame.full_size or frame.size) / frame.size, 1.0)
        term = scale_and_mask(term, site["scale"] / subsampling, site["mask"])
        return sum_plates(term, frame.dim, term.ndim - 1).reshape(len(term), self.k, -1)


def _check_particles(frame: Any, k: int, rows: int | None, following: frozenset[str] | None) -> None:
    """Refuse several particles where they cannot be told apart as rows of the plate of the data."""
    if frame is None:
        raise ConfigError(
            f"{k} particles stand as rows of the batch, but what is observed is in no plate of the data: "
            f"wrap it in `with pyro.plate('data', len(x))`"
        )
    if rows is None or frame.size != k * rows or (following is not None and frame.name not in following):
        raise ConfigError(
            f"{k} particles stand as rows of the batch, but plate {frame.name!r} of {frame.size} does not follow its "
            f"{rows} rows: use one particle, or a plate of len(x)"
        )


def _total(site: Site) -> Tensor:
    term = log_prob(site)
    check_shape(site, term.shape)
    total: Tensor = scale_and_mask(term, site["scale"], site["mask"]).sum()
    return total


def _closed_form(q: Any, p: Any) -> tuple[Tensor, int] | None:
    """KL(q ‖ p) as ``(groups, *batch)`` with the dimensions of a group; ``None`` where there is no closed form."""
    if isinstance(q, Delta):  # its KL in Pyro leaves out the density that it carries
        return None
    inner = q.reinterpreted_batch_ndims if isinstance(q, Independent) else 0
    try:
        if inner and isinstance(p, Independent) and p.reinterpreted_batch_ndims == inner:
            kl = kl_divergence(q.base_dist, p.base_dist)
            return kl.flatten(-inner).movedim(-1, 0), max(q.base_dist.event_shape.numel(), 1)
        return kl_divergence(q, p)[None], max(q.event_shape.numel(), 1)
    except NotImplementedError:
        return None
