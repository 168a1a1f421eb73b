"""What the checks are made of: sentences that fail one, and copies of all that a thing keeps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.data.dataset import Dataset, Split
from pyrogen.errors import UserError

ROWS = 16
"""The rows of a batch, and of the data that are judged: too few for a two-sample test, which is slow."""


def expect(true: bool, sentence: str) -> None:
    """Raise ``AssertionError`` with the sentence unless it holds; unlike ``assert`` under ``python -O`` too."""
    if not true:
        raise AssertionError(sentence)


def expect_protocol(model: object, protocol: Any, methods: str) -> None:
    """Hold a model to the methods of a protocol."""
    name = type(model).__name__
    expect(offers(model, protocol), f"a {name} is no {protocol.__name__}; expected {methods}")


def offers(model: object, protocol: type) -> bool:
    """Whether a model has all that a protocol names, the networks that an ``nn.Module`` holds among it."""
    return all(hasattr(model, name) for name in dir(protocol) if not name.startswith("_"))


def expect_tensor(what: str, value: Any, shape: tuple[int | str, ...]) -> None:
    """Hold a value to finite numbers of a shape, in which a name stands for any size."""
    expected = str(tuple(shape)).replace("'", "")
    expect(isinstance(value, Tensor), f"{what} is a {type(value).__name__}; expected a tensor of shape {expected}")
    sizes = [size for size, given in zip(shape, value.shape, strict=False) if size == given or isinstance(size, str)]
    expect(len(sizes) == len(shape) == value.ndim, f"{what} has shape {tuple(value.shape)}; expected {expected}")
    expect(bool(value.isfinite().all()), f"{what} is not finite everywhere; expected finite numbers")


def expect_scalars(what: str, logs: Any) -> None:
    """Hold what a step tells to finite, detached scalars that were summed in float32."""
    expect(isinstance(logs, Mapping) and bool(logs), f"{what} gave {logs!r}; expected {{name: scalar}}")
    for name, value in logs.items():
        scalar = isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad
        expect(scalar, f"{name!r} of {what} is {value!r}; expected a detached scalar tensor")
        expect(bool(value.isfinite()), f"{name!r} of {what} is {float(value)}; expected a finite number")
        narrow = value.dtype in (torch.bfloat16, torch.float16)
        expect(not narrow, f"{name!r} of {what} is of {value.dtype}; expected a sum in float32")


@contextmanager
def unchanged(what: str, *parts: Any) -> Iterator[None]:
    """Hold what happens inside to leave weights, buffers, optimisers and modes of training alone."""
    before = state_copy(*parts)
    yield
    names = differing(before, state_copy(*parts))
    expect(not names, f"{what} changed {names[:1]}; expected it to change nothing")


@contextmanager
def as_assertion(what: str = "") -> Iterator[None]:
    """A mistake that the library has a sentence for is a failed check."""
    try:
        yield
    except (UserError, UnpicklingError) as error:
        raise AssertionError(f"{what}{error}") from error


def first_rows(data: Dataset | Split) -> Any:
    """The first rows of each split."""
    if isinstance(data, Split):
        more = tuple(part[:ROWS] for part in data.more)
        return replace(data, x=data.x[:ROWS], y=None if data.y is None else data.y[:ROWS], more=more)
    return replace(data, train=first_rows(data.train), valid=first_rows(data.valid), test=first_rows(data.test))


def first_batch(data: Dataset | Split) -> tuple[Tensor, ...]:
    """The first test data, ``(x,)`` or ``(x, y)``."""
    return first_rows(data.test if isinstance(data, Dataset) else data).tensors()


def state_copy(*parts: Any) -> dict[str, Any]:
    """Copies of all that the parts keep, and whether networks are in training, by name."""
    found: dict[str, Any] = {}
    for part in parts:
        found |= leaves(part.state_dict()) if hasattr(part, "state_dict") else ()
        if isinstance(part, nn.Module):
            found |= {f"{name}.training".strip("."): module.training for name, module in part.named_modules()}
    return found


def leaves(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What nested mappings and lists hold, by its path; tensors are copied."""
    if isinstance(state, Mapping | list | tuple):
        for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
            yield from leaves(value, f"{name}.{key}".strip("."))
    else:
        yield name, state.detach().clone() if isinstance(state, Tensor) else state


def differing(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """The names under which not the same is kept, bit for bit."""
    return sorted(name for name in one.keys() | two.keys() if not equal(one.get(name), two.get(name)))


def equal(one: Any, two: Any) -> bool:
    """Whether two leaves are the same, bit for bit."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    return type(one) is type(two) and one == two
