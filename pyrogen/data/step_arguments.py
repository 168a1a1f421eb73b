"""What of a batch a step is given, and what is said where the two do not fit."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError

Batch = tuple[Any, ...]
"""The arguments of a step: most often tensors ``(x,)``, ``(x, y)`` or more; also dicts and lists of them."""

# "mat1 and mat2 must have the same dtype", "Input type (double) and bias type (float) should be the same", …
_OF_TYPES = re.compile(r"dtype|scalar type|type \(\S+\) and \w+ type", re.IGNORECASE)


def batch_for(step: Any, batch: Batch) -> Batch:
    """What of a batch ``step`` has places for: side information that its program knows nothing of is left out.

    Args:
        step: may say how many arguments it takes by ``step.takes``, ``{"model": 1, …}``; else it is given all.
        batch: its arguments, in their order.
    """
    takes = getattr(step, "takes", None)
    most = takes.get("model") if isinstance(takes, Mapping) else None
    return batch[:most] if isinstance(most, int) else batch


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts, in their order."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping | tuple | list):
        for part in thing.values() if isinstance(thing, Mapping) else thing:
            yield from tensors_in(part)


def moved(thing: Any, device: torch.device | str) -> Any:
    """The same nested tuples, lists and dicts, with their tensors on another device."""
    if isinstance(thing, Tensor):
        return thing.to(device)
    if isinstance(thing, Mapping):
        return {key: moved(part, device) for key, part in thing.items()}
    if isinstance(thing, tuple | list):
        parts = [moved(part, device) for part in thing]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    return thing


@contextmanager
def types_named(step: Any, batch: Batch) -> Iterator[None]:
    """Tell of data and weights of different types of floating point, where torch ends in an error of its own.

    Raises:
        ConfigError: naming both types, if they differ and are what the error is about; else the error is left alone.
    """
    try:
        yield
    except RuntimeError as error:
        data, weights = _floats(tensors_in(batch)), _floats(_weights(step))
        if not _OF_TYPES.search(str(error)) or not data or not weights or data == weights:
            raise
        of_weights = min(weights - data or weights, key=str)  # a counter of an objective may have kept its own
        of_data = min(data - {of_weights} or data, key=str)
        raise ConfigError(
            f"the data are {of_data} and the weights {of_weights}: convert one of them, "
            f"e.g. data.to({of_weights}) or model.to({of_data})"
        ) from error


def _floats(tensors: Iterator[Tensor]) -> set[torch.dtype]:
    return {t.dtype for t in tensors if t.is_floating_point()}


def _weights(step: Any) -> Iterator[Tensor]:
    """The weights that a step trains, as far as it tells of them."""
    if callable(getattr(step, "weights", None)):
        return tensors_in(step.weights())
    if isinstance(step, nn.Module):
        return step.parameters()
    state = step.state_dict() if callable(getattr(step, "state_dict", None)) else {}
    return _called_weights(state)


def _called_weights(state: Any) -> Iterator[Tensor]:
    """The tensors under the name ``weights`` in a nested state."""
    for name, part in state.items() if isinstance(state, Mapping) else ():
        yield from tensors_in(part) if name == "weights" else _called_weights(part)
