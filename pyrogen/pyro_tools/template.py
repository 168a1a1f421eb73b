"""A small description of a program's arguments, so that it can be called again without the data.

It is part of a checkpoint: shapes, dtypes and plain values are kept, the data are not.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

MAX_STORED_ELEMENTS = 10_000
"""Tensors with up to this many elements are stored in full; of larger ones only the first row."""
PLAIN_TYPES = (bool, int, float, str, type(None))


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Describe the arguments by plain values and small tensors; ``None`` if an argument has another type."""
    try:
        return {"args": _describe(list(args)), "kwargs": _describe(kwargs)}
    except TypeError:
        return None


def rebuild(description: dict[str, Any], device: torch.device | str = "cpu") -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Rebuild arguments of the same structure, shapes and dtypes, on ``device``."""
    args, kwargs = _rebuild(description["args"]), _rebuild(description["kwargs"])
    args, kwargs = tree_map_only(Tensor, lambda t: t.to(device), (args, kwargs))
    return tuple(args), kwargs


def first_datum(description: dict[str, Any] | None) -> Tensor | None:
    """Return the first row of the first argument if it is a tensor with rows, else ``None``."""
    first = description["args"]["list"][:1] if description else []
    if not first or "tensor" not in first[0] or first[0]["rows"] == 0:
        return None
    stored: Tensor = first[0]["tensor"]
    return stored[0] if stored.ndim else None


def _describe(value: Any) -> dict[str, Any]:
    if isinstance(value, Tensor):
        stored = value.detach()
        rows = len(stored) if stored.ndim else 0
        if stored.numel() > MAX_STORED_ELEMENTS and rows:
            stored = stored[:1]
        return {"tensor": stored.cpu().clone(), "rows": rows}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_describe(v) for v in value]}
    if type(value) is dict and all(isinstance(k, str) for k in value):
        return {"dict": {k: _describe(v) for k, v in value.items()}}
    if type(value) in PLAIN_TYPES:
        return {"plain": value}
    raise TypeError(
        f"expected tensors, plain values, and lists, tuples and dicts of them; got a {type(value).__name__}"
    )


def _rebuild(value: dict[str, Any]) -> Any:
    if "tensor" in value:
        stored: Tensor = value["tensor"]
        whole = not stored.ndim or len(stored) == value["rows"]
        return stored.clone() if whole else stored.expand(value["rows"], *stored.shape[1:]).clone()
    if "list" in value or "tuple" in value:
        (kind, parts), *_ = value.items()
        made = [_rebuild(v) for v in parts]
        return tuple(made) if kind == "tuple" else made
    if "dict" in value:
        return {k: _rebuild(v) for k, v in value["dict"].items()}
    return value["plain"]
