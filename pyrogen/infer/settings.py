"""What a Pyro program reads beside its arguments and its tensors: modes, flags, numbers.

A compiled graph has them built in, so it is only good while they stay as they were.
"""

import functools
import inspect
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
LIBRARIES = ("torch", "pyro", "numpy", "builtins", "functools", "collections", "typing", "math")


class Settings:
    """The present settings of programs: ``settings() == settings()`` as long as none of them changed.

    Read are training modes, the numbers, flags and names that a program's owner, its networks, its closure and the
    globals it names hold, one level into lists and dicts, and which tensors these are (not their values).

    Args:
        programs: functions, bound methods, modules, partials, objects that can be called.

    Attributes:
        modules: every network among them.
    """

    def __init__(self, *programs: Any) -> None:
        self.modules: list[nn.Module] = []
        self._holders: list[dict[str, Any]] = []
        self._cells: list[CellType] = []
        self._globals: list[tuple[dict[str, Any], str]] = []
        seen: set[int] = set()
        stack = list(programs)
        while stack:
            thing = stack.pop()
            if id(thing) not in seen:
                seen.add(id(thing))
                stack += self._look(thing)

    def __call__(self) -> tuple[Any, ...]:
        """All settings as they are now; comparable, and hashable unless a program holds something odd."""
        found: list[Any] = [module.training for module in self.modules]
        for holder in self._holders:
            found += [_value(value) for name, value in holder.items() if name[0] != "_"]
        found += [_value(cell.cell_contents) for cell in self._cells]
        found += [_value(names.get(name)) for names, name in self._globals]
        return tuple(found)

    def _look(self, thing: Any) -> list[Any]:
        """Note what ``thing`` holds; return what else to look at."""
        if isinstance(thing, functools.partial):
            return [thing.func, *thing.args, *thing.keywords.values()]
        if isinstance(thing, MethodType):
            return [thing.__self__, thing.__func__]
        if isinstance(thing, FunctionType):
            if _from_library(thing.__module__):
                return []
            function = inspect.unwrap(thing)
            self._cells += [cell for cell in function.__closure__ or () if not _empty(cell)]
            named = [name for name in function.__code__.co_names if name in function.__globals__]
            self._globals += [(function.__globals__, name) for name in named]
            return [cell.cell_contents for cell in self._cells] + [function.__globals__[name] for name in named]
        children = []
        if isinstance(thing, nn.Module):
            self.modules.append(thing)
            children = list(thing.children())
            if type(thing).__module__.startswith("torch.nn"):
                return children
        elif not hasattr(thing, "__dict__") or _from_library(type(thing).__module__):
            return list(thing) if isinstance(thing, list | tuple) and len(thing) < 100 else []
        if inspect.ismodule(thing) or inspect.isclass(thing):
            return []
        self._holders.append(vars(thing))
        return children + [v for name, v in vars(thing).items() if name[0] != "_"]


def _value(value: Any, deep: bool = True) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, Tensor):
        return id(value)
    if deep and kind in (list, tuple):
        return tuple([_value(v, False) for v in value])
    if deep and kind is dict:
        return tuple([(k, _value(v, False)) for k, v in value.items()])
    return kind


def _from_library(name: str | None) -> bool:
    return (name or "").partition(".")[0] in LIBRARIES


def _empty(cell: CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True
