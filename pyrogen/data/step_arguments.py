"""Matching a batch to the arguments that a step accepts, with errors that name mismatched dtypes."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError

Batch = tuple[Any, ...]
"""The arguments of a step: most often tensors ``(x,)``, ``(x, y)`` or more; also dicts and lists of them."""

# "mat1 and mat2 must have the same dtype", "Input type (double) and bias type (float) should be the same", …
_DTYPE_ERROR = re.compile(r"dtype|scalar type|type \(\S+\) and \w+ type", re.IGNORECASE)


def select_arguments(step: Any, batch: Batch) -> Batch:
    """Return the part of a batch that ``step`` accepts: side information that its model does not take is dropped.

    Args:
        step: may declare its number of arguments by ``step.takes``, ``{"model": 1, …}``; else it takes all.
        batch: the arguments in order.
    """
    takes = getattr(step, "takes", None)
    count = takes.get("model") if isinstance(takes, Mapping) else None
    return batch[:count] if isinstance(count, int) else batch


def iterate_tensors(thing: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists and dicts, in order."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping | tuple | list):
        for part in thing.values() if isinstance(thing, Mapping) else thing:
            yield from iterate_tensors(part)


def device_of(thing: Any) -> torch.device:
    """The device of the first tensor in nested tuples, lists and dicts; the CPU if there is none."""
    return next((part.device for part in iterate_tensors(thing)), torch.device("cpu"))


def move_to_device(thing: Any, device: torch.device | str) -> Any:
    """Copy nested tuples, lists and dicts with all tensors on another device."""
    return _each_tensor(lambda t: t.to(device), thing)


def take_rows(thing: Any, rows: slice, of: int) -> Any:
    """Copy nested tuples, lists and dicts with ``rows`` of every tensor that has as many as ``of``."""
    return _each_tensor(lambda t: t[rows] if t.ndim and len(t) == of else t, thing)


def _each_tensor(function: Callable[[Tensor], Tensor], thing: Any) -> Any:
    if isinstance(thing, Tensor):
        return function(thing)
    if isinstance(thing, Mapping):
        return {key: _each_tensor(function, part) for key, part in thing.items()}
    if isinstance(thing, tuple | list):
        parts = [_each_tensor(function, part) for part in thing]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    return thing


@contextmanager
def explain_dtype_errors(step: Any, batch: Batch) -> Iterator[None]:
    """Replace torch's error about mismatched dtypes by one that names those of the data and the weights.

    Raises:
        ConfigError: naming both dtypes, if they differ and caused the error; other errors pass unchanged.
    """
    try:
        yield
    except RuntimeError as error:
        check_dtypes(error, step, batch)
        raise


def check_dtypes(error: RuntimeError, step: Any, batch: Batch) -> None:
    """Raise ``ConfigError`` if the dtypes of data and weights differ, and caused the error."""
    data, weights = _float_dtypes(iterate_tensors(batch)), _float_dtypes(_weights(step))
    if not _DTYPE_ERROR.search(str(error)) or not data or not weights or data == weights:
        return
    weights_dtype = min(weights - data or weights, key=str)  # a buffer of an objective may have another dtype
    data_dtype = min(data - {weights_dtype} or data, key=str)
    raise ConfigError(
        f"the data are {data_dtype} and the weights {weights_dtype}: convert one of them, "
        f"e.g. data.to({weights_dtype}) or model.to({data_dtype})"
    ) from error


def _float_dtypes(tensors: Iterator[Tensor]) -> set[torch.dtype]:
    return {t.dtype for t in tensors if t.is_floating_point()}


def _weights(step: Any) -> Iterator[Tensor]:
    """Yield the weights of a step, as far as it exposes them."""
    if callable(getattr(step, "weights", None)):
        return iterate_tensors(step.weights())
    if isinstance(step, nn.Module):
        return step.parameters()
    state = step.state_dict() if callable(getattr(step, "state_dict", None)) else {}
    return _tensors_named_weights(state)


def _tensors_named_weights(state: Any) -> Iterator[Tensor]:
    """Yield the tensors under the key ``weights`` in a nested state."""
    for name, part in state.items() if isinstance(state, Mapping) else ():
        yield from iterate_tensors(part) if name == "weights" else _tensors_named_weights(part)
