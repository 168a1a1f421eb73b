"""What a program was called with, small enough for a checkpoint: enough to call it again without the data."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

SMALL = 10_000
"""Tensors of as many elements are kept whole; of larger ones the first row stands for all."""
PLAIN = (bool, int, float, str, type(None))


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments as plain values and small tensors; ``None`` where an argument is something else."""
    try:
        return {"args": _describe(list(args)), "kwargs": _describe(kwargs)}
    except TypeError:
        return None


def rebuild(description: dict[str, Any], device: torch.device | str = "cpu") -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of the same structure, shapes and types, on ``device``."""
    args, kwargs = _rebuild(description["args"]), _rebuild(description["kwargs"])
    args, kwargs = tree_map_only(Tensor, lambda t: t.to(device), (args, kwargs))
    return tuple(args), kwargs


def datum(description: dict[str, Any] | None) -> Tensor | None:
    """The first row of the first argument, if that is a tensor with rows."""
    first = description["args"]["list"][:1] if description else []
    if not first or "tensor" not in first[0] or first[0]["rows"] == 0:
        return None
    kept: Tensor = first[0]["tensor"]
    return kept[0] if kept.ndim else None


def _describe(value: Any) -> dict[str, Any]:
    if isinstance(value, Tensor):
        kept = value.detach()
        rows = len(kept) if kept.ndim else 0
        if kept.numel() > SMALL and rows:
            kept = kept[:1]
        return {"tensor": kept.cpu().clone(), "rows": rows}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_describe(v) for v in value]}
    if type(value) is dict and all(isinstance(k, str) for k in value):
        return {"dict": {k: _describe(v) for k, v in value.items()}}
    if type(value) in PLAIN:
        return {"plain": value}
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _rebuild(value: dict[str, Any]) -> Any:
    if "tensor" in value:
        kept: Tensor = value["tensor"]
        whole = not kept.ndim or len(kept) == value["rows"]
        return kept.clone() if whole else kept.expand(value["rows"], *kept.shape[1:]).clone()
    if "list" in value or "tuple" in value:
        (kind, parts), *_ = value.items()
        made = [_rebuild(v) for v in parts]
        return tuple(made) if kind == "tuple" else made
    if "dict" in value:
        return {k: _rebuild(v) for k, v in value["dict"].items()}
    return value["plain"]
