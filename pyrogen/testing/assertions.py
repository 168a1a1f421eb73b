"""The building blocks of checks: assertions, and copies of state to compare."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.data.dataset import Dataset, Split
from pyrogen.errors import UserError

BATCH_ROWS = 16
"""The rows of a batch and of the evaluated data: too few for two-sample tests, which are slow."""


def expect(condition: bool, message: str) -> None:
    """Raise ``AssertionError`` with the message unless the condition holds, also under ``python -O``."""
    if not condition:
        raise AssertionError(message)


def expect_protocol(model: object, protocol: Any, methods: str) -> None:
    """Check that a model has the methods of a protocol."""
    name = type(model).__name__
    expect(offers(model, protocol), f"a {name} is not a {protocol.__name__}; expected {methods}")


def offers(model: object, protocol: type) -> bool:
    """Whether a model has every member of a protocol, including the submodules of an ``nn.Module``."""
    return all(hasattr(model, name) for name in dir(protocol) if not name.startswith("_"))


def expect_tensor(what: str, value: Any, shape: tuple[int | str, ...]) -> None:
    """Check that a value is a finite tensor of a shape, in which a string stands for any size."""
    expected = str(tuple(shape)).replace("'", "")
    expect(isinstance(value, Tensor), f"{what} is a {type(value).__name__}; expected a tensor of shape {expected}")
    sizes = [size for size, given in zip(shape, value.shape, strict=False) if size == given or isinstance(size, str)]
    expect(len(sizes) == len(shape) == value.ndim, f"{what} has shape {tuple(value.shape)}; expected {expected}")
    expect(bool(value.isfinite().all()), f"{what} is not finite everywhere; expected finite numbers")


def expect_scalars(what: str, logs: Any) -> None:
    """Check that the logs of a step are finite, detached scalars, at least in float32."""
    expect(isinstance(logs, Mapping) and bool(logs), f"{what} gave {logs!r}; expected {{name: scalar}}")
    for name, value in logs.items():
        scalar = isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad
        expect(scalar, f"{name!r} of {what} is {value!r}; expected a detached scalar tensor")
        expect(bool(value.isfinite()), f"{name!r} of {what} is {float(value)}; expected a finite number")
        narrow = value.dtype in (torch.bfloat16, torch.float16)
        expect(not narrow, f"{name!r} of {what} is of {value.dtype}; expected a sum in float32")


@contextmanager
def expect_unchanged(what: str, *parts: Any) -> Iterator[None]:
    """Check that weights, buffers, optimisers and training modes do not change inside."""
    before = state_copy(*parts)
    yield
    names = differing_names(before, state_copy(*parts))
    expect(not names, f"{what} changed {names[:1]}; expected it to change nothing")


@contextmanager
def errors_as_assertions(what: str = "") -> Iterator[None]:
    """Convert user errors of the library to failed checks."""
    try:
        yield
    except UserError as error:
        raise AssertionError(f"{what}{error}") from error


def first_rows(data: Dataset | Split) -> Any:
    """Return the first rows of each split."""
    if isinstance(data, Split):
        more = tuple(part[:BATCH_ROWS] for part in data.more)
        return replace(data, x=data.x[:BATCH_ROWS], y=None if data.y is None else data.y[:BATCH_ROWS], more=more)
    return replace(data, train=first_rows(data.train), valid=first_rows(data.valid), test=first_rows(data.test))


def first_batch(data: Dataset | Split) -> tuple[Tensor, ...]:
    """Return the first test data, ``(x,)`` or ``(x, y)``."""
    return first_rows(data.test if isinstance(data, Dataset) else data).tensors()


def state_copy(*parts: Any) -> dict[str, Any]:
    """Copy the state of all parts, and the training mode of networks, by name."""
    found: dict[str, Any] = {}
    for part in parts:
        found |= flatten_state(part.state_dict()) if hasattr(part, "state_dict") else ()
        if isinstance(part, nn.Module):
            found |= {f"{name}.training".strip("."): module.training for name, module in part.named_modules()}
    return found


def flatten_state(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the items of nested mappings and lists with their paths; tensors are copied."""
    if isinstance(state, Mapping | list | tuple):
        for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
            yield from flatten_state(value, f"{name}.{key}".strip("."))
    else:
        yield name, state.detach().clone() if isinstance(state, Tensor) else state


def differing_names(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Return the names of items that are not bit-identical."""
    return sorted(name for name in one.keys() | two.keys() if not bit_equal(one.get(name), two.get(name)))


def bit_equal(one: Any, two: Any) -> bool:
    """Whether two items are bit-identical."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    return type(one) is type(two) and one == two
