"""A walk from programs through closures, globals, attributes, containers, classes and the functions they name."""

import enum
import functools
import sys
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np
from torch import Tensor, nn

from pyrogen.compile.bytecode import reads
from pyrogen.compile.snapshot import Snapshot
from pyrogen.compile.value_kinds import (
    CODE,
    HOLDERS,
    IMPURE_BUILTINS,
    LARGEST_ARRAY,
    MOST_ITEMS,
    NOT_CALLED,
    PLAIN,
    RANDOM,
    TOKENS,
    Opaque,
    Token,
    content,
    from_library,
    hides_state,
    is_cache,
    is_impure,
    is_library,
    library_names,
    meta,
    name_of,
    slots,
    token,
)


class Walk:
    """One walk, with the names that reachable code was known to read when it began.

    Attributes:
        tensors, paths, modules: what it found.
        names, dynamic: what the code that it found reads; if that is more than was known, another walk sees more.
        snapshot: of every object that it met.
    """

    def __init__(self, constant: frozenset[str], names: frozenset[str], dynamic: bool) -> None:
        self.constant, self.known, self.names, self.dynamic = constant, names, names, dynamic
        self.tensors: list[Tensor] = []
        self.paths: list[str] = []
        self.modules: list[nn.Module] = []
        self.snapshot = Snapshot()
        self.seen: dict[Any, int] = {}
        self.in_library = False
        """Whether what is looked at belongs to an object of a library, which may remember things there."""

    def run(self, programs: tuple[Any, ...], sites: Mapping[str, Tensor], constraints: Mapping[str, Any]) -> Any:
        """Walk from the programs and the parameter sites; the key of all that was met."""
        try:
            key = [self.visit(program, name_of(program), called=True) for program in programs]
            for name, site in sites.items():
                key += [name, self.visit(site, name), self.visit(constraints.get(name), name)]
        except RecursionError:
            raise Opaque("its objects are nested too deep") from None
        self.snapshot.note_sites(sites)
        return tuple(key)

    def visit(self, value: Any, where: str, called: bool = False) -> Any:
        """The key of a value. ``where`` names it in messages; ``called`` says that code may call it."""
        kind: Any = type(value)
        if kind in PLAIN:
            return kind, value
        if kind is float:
            return kind, value.hex()
        if kind is slice:
            return kind, repr(value)
        mark = (id(value), called and isinstance(value, type))
        if mark in self.seen:
            return "again", self.seen[mark]
        if len(self.seen) > MOST_ITEMS:
            raise Opaque(f"{where!r} holds more than {MOST_ITEMS} Python objects: keep them in a tensor")
        self.seen[mark] = len(self.seen)
        self.snapshot.keep(value)
        if isinstance(value, Tensor):
            self.tensors.append(value)
            self.paths.append(HOLDERS.sub(r".\1", where))
            self.snapshot.note_tensor(value)
            if value._backward_hooks or value._post_accumulate_grad_hooks:
                raise Opaque(f"{self.paths[-1]!r} has a hook on its gradient, which a graph would not call")
            return "tensor", meta(value)
        if isinstance(value, (str, int, float, bytes)):
            return kind, (str if isinstance(value, str) else repr)(value)
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, (np.generic, enum.Enum, date, PurePath)):
            return kind, str(value)
        if isinstance(value, nn.Module):
            self.modules.append(value)
        if isinstance(value, RANDOM):
            raise Opaque(f"{where!r} is a {kind.__name__}: a graph would repeat one draw for ever")
        if isinstance(value, TOKENS):
            return Token(value)
        for types, look in self._kinds():
            if isinstance(value, types):
                return kind, look(value, where, called)
        if hides_state(kind) or (kind.__dictoffset__ == 0 and not slots(kind)):
            raise Opaque(f"{where!r} is a {kind.__module__}.{kind.__qualname__}, which cannot be looked into")
        return kind, self._object(value, where)

    def _kinds(self) -> Iterator[tuple[Any, Any]]:
        yield (tuple, list, deque), self._sequence
        yield (set, frozenset), self._set
        yield Mapping, self._mapping
        yield ModuleType, self._module
        yield FunctionType, self._function
        yield MethodType, self._method
        yield BuiltinFunctionType, self._builtin
        yield functools.partial, self._partial
        yield (staticmethod, classmethod), self._wrapped
        yield functools.cached_property, self._cached
        yield type, self._class
        yield weakref.ReferenceType, lambda reference, where, _: self.visit(reference(), where)
        yield (type(str.join), type(object().__str__), GetSetDescriptorType, MemberDescriptorType), token

    def _array(self, value: np.ndarray[Any, Any], where: str) -> Any:
        if value.dtype.hasobject or value.nbytes > LARGEST_ARRAY:
            raise Opaque(
                f"{where!r} is a numpy array of shape {value.shape}: only up to {LARGEST_ARRAY} bytes are compared "
                "at each call; make it a tensor"
            )
        self.snapshot.note_array(value, where)
        return "array", value.dtype.str, value.shape, value.tobytes()

    def _sequence(self, value: Any, where: str, called: bool) -> Any:
        if not isinstance(value, tuple):
            self.snapshot.note_list(value, where)
        items = [self.visit(v, f"{where}[{i}]", called) for i, v in enumerate(value)]
        return tuple(items), self._object(value, where) if hasattr(value, "__dict__") else None

    def _set(self, value: Any, where: str, called: bool) -> Any:
        if not all(isinstance(v, PLAIN) for v in value):
            raise Opaque(f"{where!r} is a set of objects whose order is not fixed")
        self.snapshot.note_set(value, where)
        return frozenset((type(v), v) for v in value)

    def _mapping(self, value: Any, where: str, called: bool) -> Any:
        if not isinstance(value, dict):
            if hasattr(value, "__dict__"):
                return self._object(value, where)
            value = dict(value)
        cls: Any = type(value)
        self.snapshot.note_dict(value, where, None, self.in_library)
        items = [
            (self.visit(k, f"a key of {where}"), self.visit(v, f"{where}[{k!r}]", called))
            for k, v in value.items()
            if not isinstance(k, str) or k not in self.constant
        ]
        plain = cls in (dict, OrderedDict, defaultdict) or not hasattr(value, "__dict__")
        return tuple(items), None if plain else self._object(value, where)

    def _module(self, module: ModuleType, where: str, called: bool) -> Any:
        name = module.__name__
        if is_impure(name):
            raise Opaque(f"it uses Python's {name!r}, whose answers a graph would repeat for ever")
        if from_library(name):
            return name
        held = {n: v for n, v in vars(module).items() if n in self.known and n not in self.constant}
        self.snapshot.note_dict(vars(module), name, frozenset(self.known), False)
        return name, tuple((n, self.visit(v, f"{name}.{n}", True)) for n, v in sorted(held.items()))

    def _function(self, function: FunctionType, where: str, called: bool) -> Any:
        code = function.__code__
        self.snapshot.note_function(function)
        inner = [self.visit(v, f"a default of {where}") for v in function.__defaults__ or ()]
        if function.__kwdefaults__:
            inner.append(self.visit(function.__kwdefaults__, f"a default of {where}"))
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name not in self.constant:
                self.snapshot.note_cell(cell, name)
                inner.append(self.visit(content(cell), name, True))
        if vars(function) or not from_library(function.__module__):
            inner.append(self.visit(vars(function), where))
        if is_impure(function.__module__):
            raise Opaque(f"it uses {where}, whose answers a graph would repeat for ever")
        if from_library(function.__module__):
            return Token(code), tuple(inner)
        read = reads(code)
        self.names |= read.names
        self.dynamic |= read.dynamic
        inner += [self._chain(function, chain) for chain in read.chains]
        inner += [self.visit(sys.modules[name], name) for name in read.imports if name in sys.modules]
        return Token(code), tuple(inner)

    def _chain(self, function: FunctionType, chain: tuple[str, ...]) -> Any:
        """A global that a function reads, with its attributes as long as these are modules'."""
        names, name = function.__globals__, chain[0]
        if not self.constant.isdisjoint(chain[:2]):
            return None
        self.snapshot.note_global(names, name)
        if name not in names:
            if name in IMPURE_BUILTINS:
                raise Opaque(f"it calls {name!r}, which can read anything")
            return name
        value = names[name]
        for i in range(1, len(chain)):
            if not isinstance(value, ModuleType):
                self.names |= set(chain[i:])
                break
            module, value = value, getattr(value, chain[i], None)
            if not isinstance(value, ModuleType):
                if is_impure(module.__name__):
                    raise Opaque(f"it uses {'.'.join(chain[: i + 1])}, whose answers a graph would repeat for ever")
                if from_library(module.__name__):
                    return chain
                self.snapshot.note_global(vars(module), chain[i])
        if isinstance(value, type) and is_impure(value.__module__):
            raise Opaque(f"it uses {'.'.join(chain)}, whose answers a graph would repeat for ever")
        return chain[0], self.visit(value, name, True)

    def _method(self, method: MethodType, where: str, called: bool) -> Any:
        return self.visit(method.__func__, where, True), self.visit(method.__self__, name_of(method.__self__), True)

    def _builtin(self, function: Any, where: str, called: bool) -> Any:
        owner = function.__self__
        if isinstance(owner, ModuleType) and is_impure(owner.__name__):
            raise Opaque(f"it uses {where}, whose answers a graph would repeat for ever")
        if owner is None or isinstance(owner, ModuleType | type):
            return Token(function)
        return function.__name__, self.visit(owner, where)

    def _partial(self, partial: Any, where: str, called: bool) -> Any:
        return tuple(self.visit(v, where, True) for v in (partial.func, partial.args, partial.keywords))

    def _wrapped(self, method: Any, where: str, called: bool) -> Any:
        return self.visit(method.__func__, where, True)

    def _cached(self, cached: Any, where: str, called: bool) -> Any:
        return self.visit(cached.func, where, True)

    def _class(self, cls: type, where: str, called: bool) -> Any:
        parts: list[Any] = [Token(cls)]
        for base in cls.__mro__:
            if from_library(base.__module__):
                continue
            held = dict(vars(base))
            names = frozenset(n for n, v in held.items() if self._is_used(n, v, called))
            self.snapshot.note_class(base, names)
            for name in sorted(names):
                value = held[name]
                parts.append(name)
                getters = (value.fget, value.fset) if isinstance(value, property) else (value,)
                parts += [self.visit(g, f"{base.__name__}.{name}", True) for g in getters]
        return tuple(parts)

    def _is_used(self, name: str, value: Any, called: bool) -> bool:
        """Whether code that is reached can read a class's attribute."""
        if name in self.constant or name.startswith("_abc_"):
            return False
        if name.startswith("__") and name.endswith("__"):
            made = called and name in ("__init__", "__new__")
            return isinstance(value, CODE) and (made or name not in NOT_CALLED)
        return self.dynamic or name in self.known or name == "forward"

    def _object(self, value: Any, where: str) -> Any:
        cls: Any = type(value)
        library = is_library(cls)
        parts = [self.visit(cls, cls.__name__)]
        self.snapshot.note_type(value)
        for name in slots(cls):
            if name not in self.constant:
                self.snapshot.note_slot(value, name)
                if hasattr(value, name):
                    parts += [name, self.visit(getattr(value, name), f"{where}.{name}")]
        if hasattr(value, "__dict__"):
            names = None if library or self.dynamic else self.known | library_names(cls)
            self.snapshot.note_dict(vars(value), where, names, library)
            before, self.in_library = self.in_library, library
            for name, held in vars(value).items():
                if name in self.constant or (names is not None and name not in names) or is_cache(name, cls):
                    continue
                parts += [name, self.visit(held, f"{where}.{name}", True)]
            self.in_library = before
        return tuple(parts)


class LenientWalk(Walk):
    """A walk that passes over what cannot be followed, and finds the rest."""

    def visit(self, value: Any, where: str, called: bool = False) -> Any:
        """The key of a value; ``None`` where it cannot be followed."""
        try:
            return super().visit(value, where, called)
        except Opaque:
            return None

    def _chain(self, function: FunctionType, chain: tuple[str, ...]) -> Any:
        try:
            return super()._chain(function, chain)
        except Opaque:
            return None
