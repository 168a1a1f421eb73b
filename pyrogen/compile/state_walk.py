"""A depth-first walk from programs through closures, globals, attributes, containers, classes and functions."""

import enum
import functools
import sys
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import PurePath
from typing import Any

import numpy as np
from torch import Tensor, nn

from pyrogen.compile.bytecode import names_read
from pyrogen.compile.snapshot import Snapshot
from pyrogen.compile.value_kinds import (
    COMPARED_BY_IDENTITY,
    GENERATORS,
    IMPURE_BUILTINS,
    LARGEST_ARRAY,
    METHOD_TYPES,
    MODULE_DICTS,
    MOST_ITEMS,
    NOT_CALLED_IMPLICITLY,
    PLAIN_TYPES,
    IdentityKey,
    OpaqueProgram,
    cell_content,
    display_name,
    from_library,
    hides_state,
    identity_key,
    is_cache,
    is_impure,
    is_library,
    library_names,
    slots,
    tensor_spec,
)


class StateWalk:
    """One walk over the state that programs can reach.

    Args:
        constant: names of attributes and variables to skip.
        names: the attribute names that reachable code is known to read; other attributes are skipped.
        dynamic: whether reachable code can read attributes by computed names; then none is skipped.

    Attributes:
        tensors, paths, modules: the tensors with their paths, and the networks, in the order of the walk.
        names, dynamic: what the visited code reads; if that is more than the arguments said, walk again with these.
        snapshot: references to every visited object.
    """

    def __init__(self, constant: frozenset[str], names: frozenset[str], dynamic: bool) -> None:
        self.constant, self.known, self.names, self.dynamic = constant, names, names, dynamic
        self.tensors: list[Tensor] = []
        self.paths: list[str] = []
        self.modules: list[nn.Module] = []
        self.snapshot = Snapshot()
        self.seen: dict[Any, int] = {}
        self.in_library = False
        """Whether the current value belongs to a library object, which may cache results there."""

    def run(self, programs: tuple[Any, ...], sites: Mapping[str, Tensor], constraints: Mapping[str, Any]) -> Any:
        """Walk from the programs and the parameter sites; return the key of everything visited."""
        try:
            key = [self.visit(program, display_name(program), called=True) for program in programs]
            for name, site in sites.items():
                key += [name, self.visit(site, name), self.visit(constraints.get(name), name)]
        except RecursionError:
            raise OpaqueProgram("its objects are nested too deeply") from None
        self.snapshot.record_sites(sites)
        return tuple(key)

    def visit(self, value: Any, where: str, called: bool = False) -> Any:
        """Return the key of a value. ``where`` is its path, for messages; ``called``: whether code may call it."""
        kind: Any = type(value)
        if kind in PLAIN_TYPES:
            return kind, value
        if kind is float:
            return kind, value.hex()
        if kind is slice:
            return kind, repr(value)
        identity = (id(value), called and isinstance(value, type))
        if identity in self.seen:
            return "again", self.seen[identity]
        if len(self.seen) > MOST_ITEMS:
            raise OpaqueProgram(f"{where!r} holds more than {MOST_ITEMS} Python objects: keep them in a tensor")
        self.seen[identity] = len(self.seen)
        self.snapshot.keep_alive(value)
        if isinstance(value, Tensor):
            self.tensors.append(value)
            self.paths.append(MODULE_DICTS.sub(r".\1", where))
            self.snapshot.record_tensor(value)
            if value._backward_hooks or value._post_accumulate_grad_hooks:
                raise OpaqueProgram(f"{self.paths[-1]!r} has a hook on its gradient, which a graph would not call")
            return "tensor", tensor_spec(value)
        if isinstance(value, (str, int, float, bytes)):
            return kind, (str if isinstance(value, str) else repr)(value)
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, (np.generic, enum.Enum, date, PurePath)):
            return kind, str(value)
        if isinstance(value, nn.Module):
            self.modules.append(value)
        if isinstance(value, GENERATORS):
            raise OpaqueProgram(f"{where!r} is a {kind.__name__}, whose draws a graph would freeze")
        if isinstance(value, COMPARED_BY_IDENTITY):
            return IdentityKey(value)
        for classes, visitor in self._visitors():
            if isinstance(value, classes):
                return kind, visitor(value, where, called)
        if hides_state(kind) or (kind.__dictoffset__ == 0 and not slots(kind)):
            raise OpaqueProgram(
                f"{where!r} is a {kind.__module__}.{kind.__qualname__}, whose state cannot be inspected"
            )
        return kind, self._object(value, where)

    def _visitors(self) -> Iterator[tuple[Any, Any]]:
        yield (tuple, list, deque), self._sequence
        yield (set, frozenset), self._set
        yield Mapping, self._mapping
        yield types.ModuleType, self._module
        yield types.FunctionType, self._function
        yield types.MethodType, self._method
        yield types.BuiltinFunctionType, self._builtin
        yield functools.partial, self._partial
        yield (staticmethod, classmethod), lambda method, where, _: self.visit(method.__func__, where, True)
        yield functools.cached_property, lambda cached, where, _: self.visit(cached.func, where, True)
        yield type, self._class
        yield weakref.ReferenceType, lambda reference, where, _: self.visit(reference(), where)
        yield (
            (type(str.join), type(object().__str__), types.GetSetDescriptorType, types.MemberDescriptorType),
            identity_key,
        )

    def _array(self, value: np.ndarray[Any, Any], where: str) -> Any:
        if value.dtype.hasobject or value.nbytes > LARGEST_ARRAY:
            raise OpaqueProgram(
                f"{where!r} is a numpy array of shape {value.shape}: only up to {LARGEST_ARRAY} bytes are compared "
                "at each call; use a tensor"
            )
        self.snapshot.record_array(value, where)
        return "array", value.dtype.str, value.shape, value.tobytes()

    def _sequence(self, value: Any, where: str, called: bool) -> Any:
        if not isinstance(value, tuple):
            self.snapshot.record_list(value, where)
        items = [self.visit(v, f"{where}[{i}]", called) for i, v in enumerate(value)]
        return tuple(items), self._object(value, where) if hasattr(value, "__dict__") else None

    def _set(self, value: Any, where: str, called: bool) -> Any:
        if not all(isinstance(v, PLAIN_TYPES) for v in value):
            raise OpaqueProgram(f"{where!r} is a set of objects, whose order is not deterministic")
        self.snapshot.record_set(value, where)
        return frozenset((type(v), v) for v in value)

    def _mapping(self, value: Any, where: str, called: bool) -> Any:
        if not isinstance(value, dict):
            if hasattr(value, "__dict__"):
                return self._object(value, where)
            value = dict(value)
        cls: Any = type(value)
        self.snapshot.record_dict(value, where, None, self.in_library)
        items = [
            (self.visit(k, f"a key of {where}"), self.visit(v, f"{where}[{k!r}]", called))
            for k, v in value.items()
            if not isinstance(k, str) or k not in self.constant
        ]
        plain = cls in (dict, OrderedDict, defaultdict) or not hasattr(value, "__dict__")
        return tuple(items), None if plain else self._object(value, where)

    def _module(self, module: types.ModuleType, where: str, called: bool) -> Any:
        name = module.__name__
        if is_impure(name):
            raise OpaqueProgram(f"it uses Python's {name!r}, whose results a graph would freeze")
        if from_library(name):
            return name
        held = {n: v for n, v in vars(module).items() if n in self.known and n not in self.constant}
        self.snapshot.record_dict(vars(module), name, frozenset(self.known), False)
        return name, tuple((n, self.visit(v, f"{name}.{n}", True)) for n, v in sorted(held.items()))

    def _function(self, function: types.FunctionType, where: str, called: bool) -> Any:
        code = function.__code__
        self.snapshot.record_function(function)
        inner = [self.visit(v, f"a default of {where}") for v in function.__defaults__ or ()]
        if function.__kwdefaults__:
            inner.append(self.visit(function.__kwdefaults__, f"a default of {where}"))
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name not in self.constant:
                self.snapshot.record_cell(cell, name)
                inner.append(self.visit(cell_content(cell), name, True))
        if vars(function) or not from_library(function.__module__):
            inner.append(self.visit(vars(function), where))
        if is_impure(function.__module__):
            raise OpaqueProgram(f"it uses {where}, whose results a graph would freeze")
        if from_library(function.__module__):
            return IdentityKey(code), tuple(inner)
        read = names_read(code)
        self.names |= read.names
        self.dynamic |= read.dynamic
        inner += [self._global(function, chain) for chain in read.chains]
        inner += [self.visit(sys.modules[name], name) for name in read.imports if name in sys.modules]
        return IdentityKey(code), tuple(inner)

    def _global(self, function: types.FunctionType, chain: tuple[str, ...]) -> Any:
        """Return the key of a global that a function reads, following attributes of modules."""
        names, name = function.__globals__, chain[0]
        if not self.constant.isdisjoint(chain[:2]):
            return None
        self.snapshot.record_global(names, name)
        if name not in names:
            if name in IMPURE_BUILTINS:
                raise OpaqueProgram(f"it calls {name!r}, which can read arbitrary state")
            return name
        value = names[name]
        for i in range(1, len(chain)):
            if not isinstance(value, types.ModuleType):
                self.names |= set(chain[i:])
                break
            module, value = value, getattr(value, chain[i], None)
            if not isinstance(value, types.ModuleType):
                if is_impure(module.__name__):
                    raise OpaqueProgram(f"it uses {'.'.join(chain[: i + 1])}, whose results a graph would freeze")
                if from_library(module.__name__):
                    return chain
                self.snapshot.record_global(vars(module), chain[i])
        if isinstance(value, type) and is_impure(value.__module__):
            raise OpaqueProgram(f"it uses {'.'.join(chain)}, whose results a graph would freeze")
        return chain[0], self.visit(value, name, True)

    def _method(self, method: types.MethodType, where: str, called: bool) -> Any:
        return self.visit(method.__func__, where, True), self.visit(
            method.__self__, display_name(method.__self__), True
        )

    def _builtin(self, function: Any, where: str, called: bool) -> Any:
        owner = function.__self__
        if isinstance(owner, types.ModuleType) and is_impure(owner.__name__):
            raise OpaqueProgram(f"it uses {where}, whose results a graph would freeze")
        if owner is None or isinstance(owner, types.ModuleType | type):
            return IdentityKey(function)
        return function.__name__, self.visit(owner, where)

    def _partial(self, partial: Any, where: str, called: bool) -> Any:
        return tuple(self.visit(v, where, True) for v in (partial.func, partial.args, partial.keywords))

    def _class(self, cls: type, where: str, called: bool) -> Any:
        parts: list[Any] = [IdentityKey(cls)]
        for base in cls.__mro__:
            if from_library(base.__module__):
                continue
            held = dict(vars(base))
            names = frozenset(n for n, v in held.items() if self._is_used(n, v, called))
            self.snapshot.record_class(base, names)
            for name in sorted(names):
                value = held[name]
                parts.append(name)
                getters = (value.fget, value.fset) if isinstance(value, property) else (value,)
                parts += [self.visit(g, f"{base.__name__}.{name}", True) for g in getters]
        return tuple(parts)

    def _is_used(self, name: str, value: Any, called: bool) -> bool:
        """Whether reachable code can read an attribute of a class."""
        if name in self.constant or name.startswith("_abc_"):
            return False
        if name.startswith("__") and name.endswith("__"):
            made = called and name in ("__init__", "__new__")
            return isinstance(value, METHOD_TYPES) and (made or name not in NOT_CALLED_IMPLICITLY)
        return self.dynamic or name in self.known or name == "forward"

    def _object(self, value: Any, where: str) -> Any:
        cls: Any = type(value)
        library = is_library(cls)
        parts = [self.visit(cls, cls.__name__)]
        self.snapshot.record_type(value)
        for name in slots(cls):
            if name not in self.constant:
                self.snapshot.record_slot(value, name)
                if hasattr(value, name):
                    parts += [name, self.visit(getattr(value, name), f"{where}.{name}")]
        if hasattr(value, "__dict__"):
            names = None if library or self.dynamic else self.known | library_names(cls)
            self.snapshot.record_dict(vars(value), where, names, library)
            before, self.in_library = self.in_library, library
            for name, held in vars(value).items():
                if name in self.constant or (names is not None and name not in names) or is_cache(name, cls):
                    continue
                parts += [name, self.visit(held, f"{where}.{name}", True)]
            self.in_library = before
        return tuple(parts)
