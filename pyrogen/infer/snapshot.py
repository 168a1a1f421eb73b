"""The objects that a walk met, so that one quick look tells whether each still stands where it stood.

The look compares identities, in loops that run in C: it is made at each step of training. Where an identity differs,
the walk is made again, and compares values.
"""

from collections.abc import Iterator, Mapping, MutableSequence
from itertools import chain
from operator import attrgetter, is_
from types import CellType, FunctionType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

META = attrgetter("requires_grad", "dtype", "shape", "device")
CODE = attrgetter("__code__", "__defaults__", "__kwdefaults__")
CONTENT = attrgetter("cell_contents")
ABSENT = object()


class Held(NamedTuple):
    """A dictionary, often an object's, as it was.

    Args:
        live: the dictionary.
        where: whose it is, for messages.
        names: the keys that matter; ``None`` for all.
        library: whether it belongs to an object of a library.
        items: a copy.
    """

    live: dict[Any, Any]
    where: str
    names: frozenset[str] | None
    library: bool
    items: dict[Any, Any]

    def matters(self, key: Any) -> bool:
        """Whether code can read this key."""
        return self.names is None or key in self.names

    def changes(self) -> list[Any]:
        """The keys that matter and whose values are other objects now."""
        keys = [k for k in (*self.items, *(k for k in self.live if k not in self.items)) if self.matters(k)]
        return [k for k in keys if self.live.get(k, ABSENT) is not self.items.get(k, ABSENT)]


class Snapshot:
    """What stood where. ``note_…`` takes it down, ``holds`` compares, ``written`` and ``restore`` undo a trace."""

    def __init__(self) -> None:
        self.alive: list[Any] = []
        self.dicts: list[Held] = []
        self.empty: list[dict[Any, Any]] = []
        self.lists: list[tuple[MutableSequence[Any], str, list[Any]]] = []
        self.sets: list[tuple[Any, str, Any]] = []
        self.cells: list[tuple[CellType, str, Any]] = []
        self.globals: list[tuple[dict[str, Any], str, Any]] = []
        self.classes: list[tuple[type, frozenset[str], dict[str, Any]]] = []
        self.slots: list[tuple[Any, str, Any]] = []
        self.objects: list[Any] = []
        self.functions: list[FunctionType] = []
        self.arrays: list[np.ndarray[Any, Any]] = []
        self.tensors: list[Tensor] = []
        self.sites: Mapping[str, Tensor] = {}
        self._flat: tuple[Any, ...] | None = None

    def keep(self, value: Any) -> None:
        """Keep an object alive, so that no other one gets its identity."""
        self.alive.append(value)

    def note_dict(self, live: dict[Any, Any], where: str, names: frozenset[str] | None, library: bool) -> None:
        """Take down a dictionary: whose it is, which keys matter, whether it belongs to a library."""
        if live:
            self.dicts.append(Held(live, where, names, library, dict(live)))
        else:
            self.empty.append(live)

    def note_list(self, live: MutableSequence[Any], where: str) -> None:
        """Take down a list and its items."""
        self.lists.append((live, where, list(live)))

    def note_set(self, live: Any, where: str) -> None:
        """Take down a set of plain values."""
        self.sets.append((live, where, frozenset(live)))

    def note_cell(self, cell: CellType, name: str) -> None:
        """Take down what a variable of an enclosing function holds."""
        try:
            self.cells.append((cell, name, cell.cell_contents))
        except ValueError:
            self.cells.append((cell, name, ABSENT))

    def note_global(self, names: dict[str, Any], name: str) -> None:
        """Take down a global variable, also one that is not there."""
        self.globals.append((names, name, names.get(name, ABSENT)))

    def note_class(self, cls: type, names: frozenset[str]) -> None:
        """Take down the attributes of a class that matter."""
        self.classes.append((cls, names, {n: v for n, v in vars(cls).items() if n in names}))

    def note_slot(self, owner: Any, name: str) -> None:
        """Take down an attribute that lies in a slot."""
        self.slots.append((owner, name, getattr(owner, name)))

    def note_type(self, value: Any) -> None:
        """Take down the class of an object."""
        self.objects.append(value)

    def note_function(self, function: FunctionType) -> None:
        """Take down a function's code and defaults."""
        self.functions.append(function)

    def note_array(self, array: np.ndarray[Any, Any]) -> None:
        """Take down the content of an array."""
        self.arrays.append(array)

    def note_tensor(self, tensor: Tensor) -> None:
        """Take down the type, shape and place of a tensor."""
        self.tensors.append(tensor)

    def note_sites(self, sites: Mapping[str, Tensor]) -> None:
        """Take down the tensors of the parameter store."""
        self.sites = dict(sites)

    def holds(self, sites: Mapping[str, Tensor]) -> bool:
        """Whether every object stands where it stood, and no tensor has another type, shape or place."""
        if self._flat is None:
            self._flat = self._flatten()
        lens, keys, values, lists, cells, names, classes, types, codes, arrays, metas = self._flat
        try:
            return (
                not any(self.empty)
                and list(sites) == list(self.sites)
                and all(map(is_, sites.values(), self.sites.values()))
                and list(map(META, self.tensors)) == metas[0]
                and [t.stride() for t in self.tensors if t.layout is torch.strided] == metas[1]
                and (
                    (
                        list(map(len, self._live)) == lens
                        and list(chain.from_iterable(self._live)) == keys
                        and all(map(is_, chain.from_iterable(map(dict.values, self._live)), values))
                    )
                    or self._only_others_changed()
                )
                and [len(live) for live, *_ in self.lists] == lists[0]
                and all(map(is_, chain.from_iterable(live for live, *_ in self.lists), lists[1]))
                and all(live == before for live, _, before in self.sets)
                and all(map(is_, map(CONTENT, cells[0]), cells[1]))
                and all(map(_is_empty, cells[2]))
                and all(held.get(name, ABSENT) is before for held, name, before in names)
                and [len(vars(cls)) for cls in classes[0]] == classes[1]
                and all(proxy[name] is before for proxy, name, before in classes[2])
                and all(map(is_, map(type, self.objects), types))
                and all(map(is_, chain.from_iterable(map(CODE, self.functions)), codes))
                and all(getattr(owner, name, ABSENT) is before for owner, name, before in self.slots)
                and [a.tobytes() for a in self.arrays] == arrays
            )
        except (KeyError, ValueError, RuntimeError):
            return False

    def _flatten(self) -> tuple[Any, ...]:
        """What ``holds`` compares with, each kind in one list."""
        self._live = [held.live for held in self.dicts]
        filled = [(cell, before) for cell, _, before in self.cells if before is not ABSENT]
        return (
            [len(held.items) for held in self.dicts],
            [key for held in self.dicts for key in held.items],
            [value for held in self.dicts for value in held.items.values()],
            ([len(before) for *_, before in self.lists], [v for *_, before in self.lists for v in before]),
            ([c for c, _ in filled], [b for _, b in filled], [c for c, _, before in self.cells if before is ABSENT]),
            self.globals,
            (
                [cls for cls, *_ in self.classes],
                [len(vars(cls)) for cls, *_ in self.classes],
                [(vars(cls), name, before) for cls, _, held in self.classes for name, before in held.items()],
            ),
            list(map(type, self.objects)),
            list(chain.from_iterable(map(CODE, self.functions))),
            [array.tobytes() for array in self.arrays],
            (list(map(META, self.tensors)), [t.stride() for t in self.tensors if t.layout is torch.strided]),
        )

    def _only_others_changed(self) -> bool:
        """Whether what changed in the dictionaries are attributes that no code reads; they are taken anew."""
        if any(held.changes() for held in self.dicts):
            return False
        self.dicts = [held._replace(items=dict(held.live)) for held in self.dicts]
        self._flat = self._flatten()
        return True

    def written(self) -> Iterator[str]:
        """What code has written to since, by name, but for what objects of libraries remember."""
        for held in self.dicts:
            if not held.library:
                yield from (f"{held.where}.{key}" for key in held.changes())
        yield from (f"{sorted(map(str, live))[0]}" for live in self.empty if live)
        for live, where, before in (*self.lists, *self.sets):
            if len(live) != len(before) or not all(map(is_, live, before)):
                yield where
        for cell, name, before in self.cells:
            if (ABSENT if _is_empty(cell) else cell.cell_contents) is not before:
                yield name
        yield from (name for names, name, before in self.globals if names.get(name, ABSENT) is not before)
        for cls, _, before in self.classes:
            yield from (f"{cls.__name__}.{n}" for n, v in before.items() if vars(cls).get(n, ABSENT) is not v)
        yield from (f"{type(o).__name__}.{n}" for o, n, before in self.slots if getattr(o, n, ABSENT) is not before)

    def restore(self) -> None:
        """Put every object back where it stood."""
        for entry in self.dicts:
            if any(entry.live.get(k, ABSENT) is not entry.items.get(k, ABSENT) for k in {**entry.live, **entry.items}):
                entry.live.clear()
                entry.live.update(entry.items)
        for filled in self.empty:
            filled.clear()
        for live, _, items in self.lists:
            if len(live) != len(items) or not all(map(is_, live, items)):
                live.clear()
                live.extend(items)
        for cell, _, before in self.cells:
            if before is not ABSENT:
                cell.cell_contents = before
        for names, name, before in self.globals:
            if before is not ABSENT:
                names[name] = before
        for cls, _, held in self.classes:
            for name, before in held.items():
                if vars(cls).get(name, ABSENT) is not before:
                    setattr(cls, name, before)
        for owner, name, before in self.slots:
            setattr(owner, name, before)


def _is_empty(cell: CellType) -> bool:
    try:
        return cell.cell_contents is ABSENT
    except ValueError:
        return True
