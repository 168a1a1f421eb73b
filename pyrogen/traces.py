"""What the sites of a Pyro trace say of each datum: the ground of every likelihood bound."""

from collections.abc import Collection
from typing import Any

from pyro import poutine
from torch import Tensor


def samples(trace: poutine.Trace) -> list[dict[str, Any]]:
    """The sites with a probability: neither subsamples nor ``pyro.deterministic``."""
    nodes = [trace.nodes[name] for name in (*trace.stochastic_nodes, *trace.observation_nodes)]
    return [s for s in nodes if type(s["fn"]).__name__ != "_Subsample" and not s["infer"].get("_deterministic")]


def data_dim(site: dict[str, Any], data: Collection[str]) -> int | None:
    """The dimension of the data plate around a site; ``None`` if it is in none.

    Args:
        site: of a trace.
        data: the names of the plates of the data.
    """
    return next((f.dim for f in site["cond_indep_stack"] if f.name in data), None)


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
