"""The cause of a loss or gradient that is not finite, found by repeating the step with every operation watched."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from pyrogen.data.step_arguments import Batch, iterate_tensors
from pyrogen.pyro_tools.traces import Site
from pyrogen.steps.origins import Origin, WatchOrigins, is_finite
from pyrogen.steps.site_faults import SiteFault, first_fault

RATE = "a smaller learning rate"
_SINGULAR = ("sqrt", "rsqrt", "pow", "log", "div", "norm", "linalgvectornorm", "acos", "asin", "atan2", "reciprocal")


@dataclass(frozen=True)
class LossTerm:
    """A loss that a step differentiates, as its method ``loss_terms(*batch)`` yields it.

    Args:
        name: e.g. ``critic_loss``.
        value: a scalar with its graph.
        weights: the tensors that are updated by its gradient, by name.
        sites: the Pyro sites that it consists of.
    """

    name: str
    value: Tensor
    weights: Mapping[str, Tensor]
    sites: Sequence[Site] = ()


@dataclass(frozen=True)
class Fault:
    """A cause.

    Args:
        term: the site, term of the loss or gradient that is not finite.
        rows: the positions in the batch; ``None`` if they are not known.
        cause: where the value arises, a clause; may be empty.
        advice: what may help.
    """

    term: str
    rows: list[int] | None
    cause: str
    advice: str


def locate(step: Any, batch: Batch) -> Fault | None:
    """Repeat the computation of a step without its update and return what is not finite; ``None`` if all is finite.

    The losses are computed eagerly, without Pyro's validation, under the current random state.

    Args:
        step: with ``loss_terms(*batch)``, as all of the library have.
        batch: its arguments.
    """
    parts = dict(enumerate(iterate_tensors(batch)))
    rows = next((len(t) for t in parts.values() if t.ndim), None)
    named = {("data", str(i)): t for i, t in parts.items()}
    named |= {("weight", name): t for name, t in step.weights().items()} if hasattr(step, "weights") else {}
    anomaly = torch.is_anomaly_enabled()
    with warnings.catch_warnings(), pyro.validation_enabled(False), WatchOrigins(named, rows) as watch:
        warnings.simplefilter("ignore")
        torch.autograd.set_detect_anomaly(True, check_nan=False)  # graphs then know the lines of code they come from
        try:
            for term in step.loss_terms(*batch):
                fault = _forward(term, watch, parts) or _backward(term, watch, parts)
                if fault is not None:
                    return fault
        except Exception as error:  # a validation that the user asked for, a decomposition of a matrix of NaN
            if watch.latest is None:
                return None
            text = " ".join(str(error).split()).partition(", but found")[0][:200]
            return _fault(f"the step raises {type(error).__name__}: {text!r}", watch.latest, parts)
        finally:
            torch.autograd.set_detect_anomaly(anomaly)
    return None


def _forward(term: LossTerm, watch: WatchOrigins, parts: dict[int, Tensor]) -> Fault | None:
    if is_finite(term.value):
        return None
    site = first_fault(term.sites, watch.rows)
    text = site.text if site else f"{term.name} is {term.value.item()}"
    return _fault(text, watch.origin(term.value), parts, term, site)


def _backward(term: LossTerm, watch: WatchOrigins, parts: dict[int, Tensor]) -> Fault | None:
    trained = {name: t for name, t in term.weights.items() if t.requires_grad and t.is_leaf}
    if not trained or not term.value.requires_grad:
        return None
    found = torch.autograd.grad(term.value, list(trained.values()), allow_unused=True, retain_graph=True)
    for name, gradient in zip(trained, found, strict=True):
        if gradient is not None and not is_finite(gradient):
            text = f"the gradient of {name} by {term.name} is not finite"
            return _fault(text, watch.origin(gradient), parts, term)
    return None


def _fault(
    text: str,
    origin: Origin | None,
    parts: dict[int, Tensor],
    term: LossTerm | None = None,
    site: SiteFault | None = None,
) -> Fault:
    rows = (origin.rows if origin else None) or (site.rows if site else None)
    if origin is None:
        return Fault(text, rows, "", f"try {RATE}")
    if origin.kind == "data":
        return Fault(text, rows, _where_in_data(parts, int(origin.name)), "remove these rows, or replace the values")
    if origin.kind == "weight":
        cause = f"the weight {origin.name} itself is not finite"
    elif origin.kind == "constant":
        cause = f"it comes from a constant{origin.line}"
    else:
        cause = f"it arises in {'the derivative of ' if origin.derivative else ''}`{origin.name}`{origin.line}"
    return Fault(text, rows, cause, _advice(origin, term, site))


def _where_in_data(parts: dict[int, Tensor], position: int) -> str:
    """A clause that names the argument and, of a table, its columns."""
    x, what = parts[position], "x" if position == 0 else f"argument {position + 1}"
    if x.ndim != 2:
        return f"{what} is not finite"
    columns = (~x.isfinite()).any(0).nonzero().flatten().tolist()
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    return f"{what} is not finite in column{'s' * (len(columns) > 1)} {', '.join(map(str, columns[:5]))}{more}"


def _advice(origin: Origin, term: LossTerm | None, site: SiteFault | None) -> str:
    if site is not None and site.vanishing:
        return f"bound the {site.vanishing} from below, e.g. softplus(…) + 1e-3"
    if origin.dtype in (torch.float16, torch.bfloat16):
        other = " or bfloat16" if origin.dtype == torch.float16 else ""
        return f"a number is too large for {origin.dtype}: use float32{other}"
    if origin.derivative and origin.name in _SINGULAR:
        return f"keep the argument of `{origin.name}` where it has a finite derivative, e.g. by adding 1e-6"
    if term is not None and term.value == float("-inf"):
        return "the density is unbounded: add a little noise to the data, or bound the scales from below"
    if site is not None and site.outside_prior:
        return "give the model's distribution mass wherever the guide draws"
    if site is not None and (origin.kind == "constant" or origin.name in ("log", "xlogy")):
        return "give every value a positive probability, e.g. by a small constant inside the logarithm"
    if term is not None and not term.weights:
        return "the fitted model gives these rows no finite loss"
    if term is not None and term.name == "critic_loss":
        return f"bound the critic by a gradient penalty or by clip=…, or try {RATE}"
    return f"try {RATE}"
