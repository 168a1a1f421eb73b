"""References to all objects that a ``StateWalk`` visited, for a fast check whether any of them was replaced.

The check runs at every training step. It compares object identities in loops that run in C. If an identity differs,
the walk is repeated and compares values.
"""

from collections.abc import Callable, Iterator, Mapping, MutableSequence
from functools import partial
from itertools import chain
from operator import attrgetter, eq, getitem, is_
from types import CellType, FunctionType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

TENSOR_ATTRIBUTES = attrgetter(
    "requires_grad", "dtype", "shape", "device", "_backward_hooks", "_post_accumulate_grad_hooks"
)
FUNCTION_ATTRIBUTES = attrgetter("__code__", "__defaults__", "__kwdefaults__")
CELL_CONTENTS = attrgetter("cell_contents")
ABSENT = object()


class DictCopy(NamedTuple):
    """A dictionary, often an object's ``__dict__``, and a copy of its items.

    Args:
        live: the dictionary itself.
        where: the path of its owner, for messages.
        names: the relevant keys; ``None`` for all.
        library: whether it belongs to an object of a library.
        items: the copy.
    """

    live: dict[Any, Any]
    where: str
    names: frozenset[str] | None
    library: bool
    items: dict[Any, Any]

    def is_relevant(self, key: Any) -> bool:
        """Whether reachable code can read this key."""
        return self.names is None or key in self.names

    def changes(self) -> list[Any]:
        """Return the relevant keys whose values were replaced or whose order changed."""
        keys = [k for k in (*self.items, *(k for k in self.live if k not in self.items)) if self.is_relevant(k)]
        changed = [k for k in keys if self.live.get(k, ABSENT) is not self.items.get(k, ABSENT)]
        if changed or self.names is not None:
            return changed
        return [k for k, before in zip(self.live, self.items, strict=True) if k != before]


class Snapshot:
    """References to the visited objects and their contents.

    ``record_…`` adds an object, ``is_current`` compares, ``changed_names`` lists modifications and ``restore`` undoes
    them.
    """

    def __init__(self) -> None:
        self.alive: list[Any] = []
        self.dicts: list[DictCopy] = []
        self.empty: list[dict[Any, Any]] = []
        self.lists: list[tuple[MutableSequence[Any], str, list[Any]]] = []
        self.sets: list[tuple[Any, str, Any]] = []
        self.cells: list[tuple[CellType, str, Any]] = []
        self.globals: list[tuple[dict[str, Any], str, Any]] = []
        self.classes: list[tuple[type, frozenset[str], dict[str, Any]]] = []
        self.slots: list[tuple[Any, str, Any]] = []
        self.objects: list[Any] = []
        self.functions: list[FunctionType] = []
        self.arrays: list[tuple[np.ndarray[Any, Any], str, np.ndarray[Any, Any]]] = []
        self.tensors: list[Tensor] = []
        self._site_names: list[str] = []
        self._site_tensors: list[Tensor] = []
        self._checks: list[Callable[[], bool]] = []

    def keep_alive(self, value: Any) -> None:
        """Keep an object alive, so that its ``id`` is not reused."""
        self.alive.append(value)

    def record_dict(self, live: dict[Any, Any], where: str, names: frozenset[str] | None, library: bool) -> None:
        """Record a dictionary, the path of its owner, its relevant keys, and whether it belongs to a library."""
        if live:
            self.dicts.append(DictCopy(live, where, names, library, dict(live)))
        else:
            self.empty.append(live)

    def record_list(self, live: MutableSequence[Any], where: str) -> None:
        """Record a list and its items."""
        self.lists.append((live, where, list(live)))

    def record_set(self, live: Any, where: str) -> None:
        """Record a set of plain values."""
        self.sets.append((live, where, frozenset(live)))

    def record_cell(self, cell: CellType, name: str) -> None:
        """Record the value of a closure variable."""
        try:
            self.cells.append((cell, name, cell.cell_contents))
        except ValueError:
            self.cells.append((cell, name, ABSENT))

    def record_global(self, names: dict[str, Any], name: str) -> None:
        """Record a global variable, defined or not."""
        self.globals.append((names, name, names.get(name, ABSENT)))

    def record_class(self, cls: type, names: frozenset[str]) -> None:
        """Record the relevant attributes of a class."""
        self.classes.append((cls, names, {n: v for n, v in vars(cls).items() if n in names}))

    def record_slot(self, owner: Any, name: str) -> None:
        """Record a slot attribute, set or not."""
        self.slots.append((owner, name, getattr(owner, name, ABSENT)))

    def record_type(self, value: Any) -> None:
        """Record the class of an object."""
        self.objects.append(value)

    def record_function(self, function: FunctionType) -> None:
        """Record a function's code and defaults."""
        self.functions.append(function)

    def record_array(self, array: np.ndarray[Any, Any], where: str) -> None:
        """Record the contents of an array."""
        self.arrays.append((array, where, array.copy()))

    def record_tensor(self, tensor: Tensor) -> None:
        """Record the dtype, shape, stride and device of a tensor."""
        self.tensors.append(tensor)

    def record_sites(self, sites: Mapping[str, Tensor]) -> None:
        """Record the tensors of the parameter store; must be called last."""
        self._site_names, self._site_tensors = list(sites), list(sites.values())
        self._checks = self._make_checks()

    def is_current(self, sites: Mapping[str, Tensor]) -> bool:
        """Whether no recorded object was replaced and no tensor has a new dtype, shape, stride or device."""
        try:
            same = list(sites) == self._site_names and all(map(is_, sites.values(), self._site_tensors))
            return same and all(check() for check in self._checks)
        except (AttributeError, KeyError, ValueError, RuntimeError):
            return False

    def _make_checks(self) -> list[Callable[[], bool]]:
        """Return one comparison for each kind of record; all records of a kind are compared in one loop."""
        checks: list[Callable[[], bool]] = []
        metas = list(map(TENSOR_ATTRIBUTES, self.tensors))
        strided = [t for t in self.tensors if t.layout is torch.strided]
        strides = list(map(Tensor.stride, strided))
        if self.tensors:
            checks.append(
                lambda: (
                    list(map(TENSOR_ATTRIBUTES, self.tensors)) == metas and list(map(Tensor.stride, strided)) == strides
                )
            )
        if self.empty:
            checks.append(lambda: not any(self.empty))
        if self.dicts:
            checks.append(self._dicts_unchanged)
            self._flatten_dicts()
        checks += [partial(_same_items, live, before) for live, _, before in self.lists]
        checks += [partial(eq, live, before) for live, _, before in self.sets]
        checks += self._pairwise_checks()
        if self.objects:
            types = list(map(type, self.objects))
            checks.append(lambda: all(map(is_, map(type, self.objects), types)))
        if self.functions:
            codes = list(chain.from_iterable(map(FUNCTION_ATTRIBUTES, self.functions)))
            checks.append(lambda: all(map(is_, chain.from_iterable(map(FUNCTION_ATTRIBUTES, self.functions)), codes)))
        contents = [before.tobytes() for *_, before in self.arrays]
        if contents:
            checks.append(lambda: [array.tobytes() for array, *_ in self.arrays] == contents)
        return checks

    def _pairwise_checks(self) -> list[Callable[[], bool]]:
        """Return the comparisons of variables and attributes, each found by its owner and its name."""
        checks: list[Callable[[], bool]] = []
        filled = [(cell, before) for cell, _, before in self.cells if before is not ABSENT]
        if filled:
            cells, contents = zip(*filled, strict=True)
            checks.append(lambda: all(map(is_, map(CELL_CONTENTS, cells), contents)))
        checks += [partial(_is_empty, cell) for cell, _, before in self.cells if before is ABSENT]
        if self.globals:
            spaces, names, _ = zip(*self.globals, strict=True)
            values = list(map(dict.get, spaces, names))
            checks.append(lambda: all(map(is_, map(dict.get, spaces, names), values)))
        if self.classes:
            owners = [vars(cls) for cls, *_ in self.classes]
            sizes = list(map(len, owners))
            held = [(vars(cls), name, value) for cls, _, items in self.classes for name, value in items.items()]
            proxies, keys, attributes = zip(*held, strict=True) if held else ((), (), ())
            checks.append(
                lambda: list(map(len, owners)) == sizes and all(map(is_, map(getitem, proxies, keys), attributes))
            )
        checks += [partial(_same_slot, *slot) for slot in self.slots]
        return checks

    def _flatten_dicts(self) -> None:
        self._live = [held.live for held in self.dicts]
        self._sizes = [len(held.items) for held in self.dicts]
        self._keys = [key for held in self.dicts for key in held.items]
        self._values = [value for held in self.dicts for value in held.items.values()]

    def _dicts_unchanged(self) -> bool:
        same = (
            list(map(len, self._live)) == self._sizes
            and list(chain.from_iterable(self._live)) == self._keys
            and all(map(is_, chain.from_iterable(map(dict.values, self._live)), self._values))
        )
        return same or self._only_irrelevant_keys_changed()

    def _only_irrelevant_keys_changed(self) -> bool:
        """Whether only attributes changed that no code reads; if so, the copies are updated."""
        if any(held.changes() for held in self.dicts):
            return False
        self.dicts = [held._replace(items=dict(held.live)) for held in self.dicts]
        self._flatten_dicts()
        return True

    def changed_names(self) -> Iterator[str]:
        """Yield the names of what code has modified since, except the state of library objects."""
        for held in self.dicts:
            if not held.library:
                yield from (f"{held.where}.{key}" for key in held.changes())
        yield from (f"{sorted(map(str, live))[0]}" for live in self.empty if live)
        yield from (where for live, where, before in self.lists if not _same_items(live, before))
        yield from (where for live, where, before in self.sets if live != before)
        yield from (where for live, where, before in self.arrays if live.tobytes() != before.tobytes())
        for cell, name, before in self.cells:
            if (ABSENT if _is_empty(cell) else cell.cell_contents) is not before:
                yield name
        yield from (name for names, name, before in self.globals if names.get(name, ABSENT) is not before)
        for cls, _, before in self.classes:
            yield from (f"{cls.__name__}.{n}" for n, v in before.items() if vars(cls).get(n, ABSENT) is not v)
        yield from (f"{type(o).__name__}.{n}" for o, n, before in self.slots if getattr(o, n, ABSENT) is not before)

    def restore(self) -> None:
        """Undo all modifications."""
        for entry in self.dicts:
            changed = any(
                entry.live.get(k, ABSENT) is not entry.items.get(k, ABSENT) for k in {**entry.live, **entry.items}
            )
            if changed or list(entry.live) != list(entry.items):
                entry.live.clear()
                entry.live.update(entry.items)
        for filled in self.empty:
            filled.clear()
        for live, _, items in self.lists:
            if not _same_items(live, items):
                live.clear()
                live.extend(items)
        for held, _, values in self.sets:
            if held != values:
                held.clear()
                held.update(values)
        for array, _, content in self.arrays:
            if array.tobytes() != content.tobytes():
                array[...] = content
        for cell, _, before in self.cells:
            if before is not ABSENT:
                cell.cell_contents = before
            elif not _is_empty(cell):
                del cell.cell_contents
        for names, name, before in self.globals:
            if before is not ABSENT:
                names[name] = before
            else:
                names.pop(name, None)
        for cls, _, held in self.classes:
            for name, before in held.items():
                if vars(cls).get(name, ABSENT) is not before:
                    setattr(cls, name, before)
        for owner, name, before in self.slots:
            if before is not ABSENT and not _same_slot(owner, name, before):
                object.__setattr__(owner, name, before)
            elif before is ABSENT and hasattr(owner, name):
                object.__delattr__(owner, name)


def _same_items(live: MutableSequence[Any], before: list[Any]) -> bool:
    return len(live) == len(before) and all(map(is_, live, before))


def _same_slot(owner: Any, name: str, before: Any) -> bool:
    return getattr(owner, name, ABSENT) is before


def _is_empty(cell: CellType) -> bool:
    try:
        return cell.cell_contents is ABSENT
    except ValueError:
        return True
