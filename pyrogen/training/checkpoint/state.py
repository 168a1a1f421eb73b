"""Nested state as JSON, its tensors and arrays apart: exact, readable, and data alone.

Numbers, texts, ``None``, lists, and dicts whose keys are texts are JSON as they are. Anything else is an object with
one key that begins with ``$`` and names the type: ``{"$tuple": [0.9, 0.999]}``, ``{"$float": "inf"}``,
``{"$tensor": {"name": "3"}}``.
"""

import base64
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pyrogen.errors import RunError

DEEPEST = 100
"""How deep a state is nested at most."""
EXPECTED = (
    "tensors, arrays, numbers, texts, bytes, None, dtypes, devices, and lists, tuples, sets, dicts and Counters of them"
)
STORED_DTYPES = frozenset(
    getattr(torch, name)
    for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
)
"""The dtypes that safetensors holds in every version; tensors of others are stored as bytes."""

_SEQUENCES: dict[str, type[Any]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset, "$size": torch.Size}
_MAPPINGS: dict[str, type[Any]] = {"$dict": dict, "$ordered": OrderedDict, "$counter": Counter}
_TAGS: dict[type[Any], str] = {made: tag for tag, made in (_SEQUENCES | _MAPPINGS).items()}


class WeightsOf(NamedTuple):
    """Stands in a state for the weights of a part, which are stored by name."""

    part: str


class Encoder:
    """Turns states into JSON, and collects their tensors; one that occurs twice is stored once.

    Attributes:
        tensors: what was collected, by name, contiguous and on the CPU.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._known: dict[tuple[Any, ...], tuple[Tensor, dict[str, Any]]] = {}

    def encode(self, value: Any, path: str, depth: int = 0) -> Any:
        """The JSON of a value.

        Args:
            value: the state.
            path: its name for messages.
            depth: how deep it is nested in the state.

        Raises:
            RunError: naming the first part of the state that is none of ``EXPECTED``.
        """
        kind = type(value)
        if depth > DEEPEST:
            raise RunError(f"cannot save {path[:200]!r}: nested more than {DEEPEST} deep")
        if value is None or kind in (bool, str) or (kind is int and value.bit_length() <= 8192):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if kind is list:
            return [self.encode(part, f"{path}.{i}", depth + 1) for i, part in enumerate(value)]
        if kind is dict and all(type(key) is str and not key.startswith("$") for key in value):
            return {key: self.encode(part, f"{path}.{key}", depth + 1) for key, part in value.items()}
        if kind in _MAPPINGS.values():
            items = value.items()
            pairs = [[self.encode(k, path, depth + 1), self.encode(v, f"{path}.{k}", depth + 1)] for k, v in items]
            return {_TAGS[kind]: pairs}
        if kind in _SEQUENCES.values():
            return {_TAGS[kind]: [self.encode(part, f"{path}.{i}", depth + 1) for i, part in enumerate(value)]}
        return self._encode_leaf(value, path)

    def _encode_leaf(self, value: Any, path: str) -> Any:
        kind = type(value)
        if kind is WeightsOf:
            return {"$weights": value.part}
        if kind in (Tensor, nn.Parameter):
            return {"$tensor": self._tensor(value, path)}
        if kind is np.ndarray or isinstance(value, np.generic):
            tag = "$array" if kind is np.ndarray else "$scalar"
            try:
                return {tag: self._tensor(torch.from_numpy(np.array(value, order="K")), path)}
            except (TypeError, ValueError):
                raise RunError(f"cannot save {path!r}: an array of dtype {value.dtype}; expected numbers") from None
        if kind is bytes:
            return {"$bytes": base64.b64encode(value).decode()}
        if kind is complex:
            return {"$complex": [repr(value.real), repr(value.imag)]}
        if kind is torch.dtype:
            return {"$dtype": str(value).removeprefix("torch.")}
        if kind is torch.device:
            return {"$device": str(value)}
        what = "an int of more than 8,192 bits" if kind is int else f"a {kind.__module__}.{kind.__qualname__}"
        raise RunError(f"cannot save {path!r}: {what}; expected {EXPECTED}")

    def _tensor(self, tensor: Tensor, path: str) -> dict[str, Any]:
        """The description of a tensor, whose values are collected in the order in which they lie in memory."""
        if tensor.is_nested or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            what = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
            raise RunError(f"cannot save {path!r}: a tensor of {what}; expected a dense one with values")
        tensor = tensor.detach().resolve_conj().resolve_neg()
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and place in self._known:
            return self._known[place][1]
        values = tensor.cpu()
        strides = values.stride()
        order = sorted(range(values.ndim), key=lambda i: -strides[i])
        found: dict[str, Any] = {"name": str(len(self.tensors))}
        if not values.is_contiguous() and values.permute(order).is_contiguous():
            found["order"] = order
            values = values.permute(order)
        values = values.clone(memory_format=torch.contiguous_format)
        if values.dtype not in STORED_DTYPES:
            found |= {"dtype": str(values.dtype).removeprefix("torch."), "shape": list(values.shape)}
            values = values.reshape(-1).view(torch.uint8)
        self.tensors[found["name"]] = values
        self._known[place] = tensor, found  # the tensor is kept, so that no other one gets its address
        return found


def decode(node: Any, tensors: Mapping[str, Tensor], weights: Mapping[str, dict[str, Tensor]]) -> Any:
    """The state of which ``Encoder.encode`` made ``node``.

    Args:
        node: that JSON.
        tensors: the collected tensors.
        weights: the weights of each part.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RuntimeError: for what ``encode`` does not make.
    """

    def inner(part: Any) -> Any:
        return decode(part, tensors, weights)

    if isinstance(node, list):
        return list(map(inner, node))
    if not isinstance(node, dict):
        return node
    tag = next(iter(node), "")
    if not tag.startswith("$"):
        return {key: inner(part) for key, part in node.items()}
    (content,) = node.values()
    if tag in _SEQUENCES:
        return _SEQUENCES[tag](list(map(inner, content)))
    if tag in _MAPPINGS:
        return _MAPPINGS[tag]({inner(key): inner(part) for key, part in content})
    if tag == "$weights":
        return weights[content]
    if tag in ("$tensor", "$array", "$scalar"):
        tensor = _rebuilt(content, tensors)
        return tensor if tag == "$tensor" else tensor.numpy() if tag == "$array" else tensor.numpy()[()]
    return _LEAVES[tag](content)


def _rebuilt(described: dict[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
    values = tensors[described["name"]]
    if "dtype" in described:
        values = values.view(_dtype(described["dtype"])).reshape(described["shape"])
    order = described.get("order")
    return values if order is None else values.permute([order.index(i) for i in range(values.ndim)])


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name!r} is no dtype")
    return found


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$complex": lambda parts: complex(*map(float, parts)),
    "$bytes": base64.b64decode,
    "$dtype": _dtype,
    "$device": torch.device,
}
