"""What a walk through a program's surroundings tells apart: plain values, libraries, what changes by itself."""

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

from pyrogen.compile.bytecode import reads

LIBRARIES = frozenset(
    {"torch", "torchvision", "pyro", "numpy", "opt_einsum", "scipy", "sklearn"}
    | {"pytest", "_pytest", "hypothesis"}  # which a test's assertions and arguments come from
    | (sys.stdlib_module_names - {"__main__"})
)
"""Packages whose code is taken to depend on its arguments and on the attributes of its objects alone."""
IMPURE = frozenset(
    {"random", "time", "datetime", "os", "sys", "secrets", "uuid", "io", "socket", "subprocess", "shutil", "tempfile"}
    | {"glob", "threading", "multiprocessing", "asyncio", "urllib", "requests", "numpy.random"}
    | {"posix", "posixpath", "genericpath", "contextvars"}
)
"""Modules whose functions give another answer when they are asked again."""
IMPURE_BUILTINS = frozenset({"open", "input", "eval", "exec", "globals", "locals", "compile", "__import__"})
PLAIN = (
    *(bool, int, complex, str, bytes, type(None), type(...), type(NotImplemented), range),
    *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format),
    *(Decimal, Fraction, timedelta),
)
RANDOM = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
TOKENS = (logging.Logger, re.Pattern, Trace, property, np.ufunc)
"""Objects that are compared by identity: what they hold is not read, or does not change."""
HOLDERS = re.compile(r"\._(?:modules|parameters|buffers)\['([^']*)'\]")
"""Where a network keeps what its user knows as an attribute."""
MOST_ITEMS = 10_000
LARGEST_ARRAY = 1 << 16
"""Bytes of a numpy array whose content is compared at each call."""
HEAP_TYPE, IMMUTABLE_TYPE = 1 << 9, 1 << 8
"""Flags of classes: made while Python runs, and written in C all the same."""
NON_PERSISTENT = "_non_persistent_buffers_set"
CODE = (FunctionType, staticmethod, classmethod, property)
NOT_CALLED = frozenset(
    {"__init__", "__new__", "__repr__", "__str__", "__del__", "__reduce__", "__reduce_ex__", "__getstate__", "__dir__"}
    | {"__setstate__", "__init_subclass__", "__class_getitem__", "__set_name__", "__subclasshook__"}
    | {"__instancecheck__", "__copy__", "__deepcopy__"}
)
"""Methods that Python calls, but not where an object is used."""


class Opaque(Exception):
    """A program cannot be followed; the message says what it reads."""


class Meta(NamedTuple):
    """What a graph is specialised to of a tensor."""

    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]
    device: torch.device
    requires_grad: bool
    kind: type


def meta(tensor: Tensor) -> Meta:
    """A tensor without its values."""
    stride = tensor.stride() if tensor.layout is torch.strided else ()
    return Meta(tensor.dtype, tensor.shape, stride, tensor.device, tensor.requires_grad, type(tensor))


class Key:
    """A value that is hashed once: a fingerprint is looked up at each step, and has hundreds of parts."""

    def __init__(self, value: Any) -> None:
        self.value, self._hash = value, hash(value)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Key) and self._hash == other._hash and self.value == other.value)

    def __hash__(self) -> int:
        return self._hash


class Token:
    """Stands for an object in a key: equal to itself alone, which it keeps alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def token(value: Any, where: str, called: bool) -> Any:
    """The key of what is compared by identity."""
    return Token(value)


def is_cache(name: str, cls: type) -> bool:
    """Whether a transform only remembers its last result there, or a network what its state is read and written by."""
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
    """Whether what a module of this name defines gives another answer when it is asked again."""
    return name in IMPURE or (name or "").partition(".")[0] in IMPURE


@functools.cache
def hides_state(cls: Any) -> bool:
    """Whether objects of a class hold something outside their attributes: those of classes that are written in C."""
    solid = next(b for b in cls.__mro__ if not b.__flags__ & HEAP_TYPE or b.__flags__ & IMMUTABLE_TYPE)
    return solid not in (object, SimpleNamespace)


@functools.cache
def slots(cls: Any) -> tuple[str, ...]:
    """The attributes of a class's objects that lie in slots."""
    found = [getattr(base, "__slots__", ()) for base in cls.__mro__ if base.__module__ != "builtins"]
    names = [n for slots in found for n in ((slots,) if isinstance(slots, str) else slots)]
    return tuple(n for n in names if n not in ("__dict__", "__weakref__"))


@functools.cache
def library_names(cls: Any) -> frozenset[str]:
    """The attributes that the methods which a class inherits from a library can read."""
    found: set[str] = set()
    for base in cls.__mro__:
        if is_library(base) and base is not object:
            for value in vars(base).values():
                functions = (value.fget, value.fset) if isinstance(value, property) else (value,)
                for function in functions:
                    function = inspect.unwrap(function) if callable(function) else function
                    code = getattr(getattr(function, "__func__", function), "__code__", None)
                    found |= reads(code).names if code is not None else set()
    return frozenset(found)


def content(cell: CellType) -> Any:
    """What a variable of an enclosing function holds; ``NotImplemented`` while it holds nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return NotImplemented


def name_of(program: Any) -> str:
    """What a program is called in messages."""
    return getattr(program, "__qualname__", type(program).__name__)
