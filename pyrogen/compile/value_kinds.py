"""Classification of the values that a ``StateWalk`` visits: plain values, library code, impure functions."""

import functools
import inspect
import logging
import random
import re
import sys
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from types import CellType, FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from pyro.poutine import Trace
from torch import Tensor, nn
from torch.distributions import Transform

from pyrogen.compile.bytecode import names_read

LIBRARIES = frozenset(
    {"torch", "torchvision", "pyro", "numpy", "opt_einsum", "scipy", "sklearn"}
    | {"pytest", "_pytest", "hypothesis"}  # where the assertions and arguments of tests come from
    | (sys.stdlib_module_names - {"__main__"})
)
"""Packages whose code is assumed to depend only on its arguments and on the attributes of its objects."""
IMPURE = frozenset(
    {"random", "time", "datetime", "os", "sys", "secrets", "uuid", "io", "socket", "subprocess", "shutil", "tempfile"}
    | {"glob", "threading", "multiprocessing", "asyncio", "urllib", "requests", "numpy.random"}
    | {"posix", "posixpath", "genericpath", "contextvars"}
)
"""Modules whose functions may return a different result in each call."""
IMPURE_BUILTINS = frozenset({"open", "input", "eval", "exec", "globals", "locals", "compile", "__import__"})
PLAIN_TYPES = (
    *(bool, int, complex, str, bytes, type(None), type(...), type(NotImplemented), range),
    *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format),
    *(Decimal, Fraction, timedelta),
)
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
COMPARED_BY_IDENTITY = (logging.Logger, re.Pattern, Trace, property, np.ufunc)
"""Types of objects that are compared by identity: their contents are not read, or do not change."""
MODULE_DICTS = re.compile(r"\._(?:modules|parameters|buffers)\['([^']*)'\]")
"""The dictionaries of an ``nn.Module`` whose entries are read as attributes."""
MOST_ITEMS = 10_000
LARGEST_ARRAY = 1 << 16
"""The largest NumPy array, in bytes, whose contents are compared at each call."""
HEAP_TYPE, IMMUTABLE_TYPE = 1 << 9, 1 << 8
"""Type flags: defined at run time, and immutable (a heap type defined in C)."""
NON_PERSISTENT = "_non_persistent_buffers_set"
METHOD_TYPES = (FunctionType, staticmethod, classmethod, property)
NOT_CALLED_IMPLICITLY = frozenset(
    {"__init__", "__new__", "__repr__", "__str__", "__del__", "__reduce__", "__reduce_ex__", "__getstate__", "__dir__"}
    | {"__setstate__", "__init_subclass__", "__class_getitem__", "__set_name__", "__subclasshook__"}
    | {"__instancecheck__", "__copy__", "__deepcopy__"}
)
"""Special methods that are not called implicitly when an object is used."""


class OpaqueProgram(Exception):
    """A program depends on state that cannot be tracked; the message names it."""


class TensorSpec(NamedTuple):
    """The properties of a tensor that a graph is specialised to."""

    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]
    device: torch.device
    requires_grad: bool
    kind: type


def tensor_spec(tensor: Tensor) -> TensorSpec:
    """Return the spec of a tensor."""
    stride = tensor.stride() if tensor.layout is torch.strided else ()
    return TensorSpec(tensor.dtype, tensor.shape, stride, tensor.device, tensor.requires_grad, type(tensor))


class HashedKey:
    """A value whose hash is cached: a fingerprint has hundreds of parts and is looked up at each step."""

    def __init__(self, value: Any) -> None:
        self.value, self._hash = value, hash(value)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, HashedKey) and self._hash == other._hash and self.value == other.value
        )

    def __hash__(self) -> int:
        return self._hash


class IdentityKey:
    """A key that compares an object by identity and keeps it alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityKey) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def identity_key(value: Any, where: str, called: bool) -> Any:
    """Return the key of a value that is compared by identity."""
    return IdentityKey(value)


def is_cache(name: str, cls: type) -> bool:
    """Whether an attribute is a transform's cache of its last result, or a network's hooks for state dictionaries."""
    if issubclass(cls, Transform) and (name.startswith("_cached") or name == "_inv"):
        return True
    return issubclass(cls, nn.Module) and (name.startswith(("_state_dict", "_load_state")) or name == NON_PERSISTENT)


def from_library(name: str | None) -> bool:
    """Whether a module of this name belongs to a library."""
    return (name or "").partition(".")[0] in LIBRARIES


@functools.cache
def is_library(cls: Any) -> bool:
    """Whether a class belongs to a library."""
    return from_library(cls.__module__)


def is_impure(name: str | None) -> bool:
    """Whether functions of this module may return a different result in each call."""
    return name in IMPURE or (name or "").partition(".")[0] in IMPURE


@functools.cache
def hides_state(cls: Any) -> bool:
    """Whether objects of a class have state outside their attributes, as those of classes written in C."""
    solid = next(b for b in cls.__mro__ if not b.__flags__ & HEAP_TYPE or b.__flags__ & IMMUTABLE_TYPE)
    return solid not in (object, SimpleNamespace)


@functools.cache
def slots(cls: Any) -> tuple[str, ...]:
    """Return the names of a class's slot attributes."""
    found = [getattr(base, "__slots__", ()) for base in cls.__mro__ if base.__module__ != "builtins"]
    names = [n for slots in found for n in ((slots,) if isinstance(slots, str) else slots)]
    return tuple(n for n in names if n not in ("__dict__", "__weakref__"))


@functools.cache
def library_names(cls: Any) -> frozenset[str]:
    """Return the attribute names that methods inherited from a library can read."""
    found: set[str] = set()
    for base in cls.__mro__:
        if is_library(base) and base is not object:
            for value in vars(base).values():
                functions = (value.fget, value.fset) if isinstance(value, property) else (value,)
                for function in functions:
                    function = inspect.unwrap(function) if callable(function) else function
                    code = getattr(getattr(function, "__func__", function), "__code__", None)
                    found |= names_read(code).names if code is not None else set()
    return frozenset(found)


def cell_content(cell: CellType) -> Any:
    """Return the value of a closure variable; ``NotImplemented`` if it is not set."""
    try:
        return cell.cell_contents
    except ValueError:
        return NotImplemented


def display_name(program: Any) -> str:
    """Return the name of a program for messages."""
    return getattr(program, "__qualname__", type(program).__name__)
