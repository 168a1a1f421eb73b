"""The objects that a walk met, so that one quick look tells whether each still stands where it stood.

The look compares identities, in loops that run in C: it is made at each step of training. Where an identity differs,
the walk is made again, and compares values.
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

META = attrgetter("requires_grad", "dtype", "shape", "device", "_backward_hooks", "_post_accumulate_grad_hooks")
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
        """The keys that matter and whose values are other objects now, or which stand in another place."""
        keys = [k for k in (*self.items, *(k for k in self.live if k not in self.items)) if self.matters(k)]
        changed = [k for k in keys if self.live.get(k, ABSENT) is not self.items.get(k, ABSENT)]
        if changed or self.names is not None:
            return changed
        return [k for k, before in zip(self.live, self.items, strict=True) if k != before]


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
        self.arrays: list[tuple[np.ndarray[Any, Any], str, np.ndarray[Any, Any]]] = []
        self.tensors: list[Tensor] = []
        self._site_names: list[str] = []
        self._site_tensors: list[Tensor] = []
        self._checks: list[Callable[[], bool]] = []

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
        """Take down an attribute that lies in a slot, also one that is not there."""
        self.slots.append((owner, name, getattr(owner, name, ABSENT)))

    def note_type(self, value: Any) -> None:
        """Take down the class of an object."""
        self.objects.append(value)

    def note_function(self, function: FunctionType) -> None:
        """Take down a function's code and defaults."""
        self.functions.append(function)

    def note_array(self, array: np.ndarray[Any, Any], where: str) -> None:
        """Take down the content of an array."""
        self.arrays.append((array, where, array.copy()))

    def note_tensor(self, tensor: Tensor) -> None:
        """Take down the type, shape and place of a tensor."""
        self.tensors.append(tensor)

    def note_sites(self, sites: Mapping[str, Tensor]) -> None:
        """Take down the tensors of the parameter store, the last of all."""
        self._site_names, self._site_tensors = list(sites), list(sites.values())
        self._checks = self._make_checks()

    def holds(self, sites: Mapping[str, Tensor]) -> bool:
        """Whether every object stands where it stood, and no tensor has another type, shape or place."""
        try:
            same = list(sites) == self._site_names and all(map(is_, sites.values(), self._site_tensors))
            return same and all(check() for check in self._checks)
        except (AttributeError, KeyError, ValueError, RuntimeError):
            return False

    def _make_checks(self) -> list[Callable[[], bool]]:
        """One comparison for each kind of thing that was noted; all items of a kind in one loop."""
        checks: list[Callable[[], bool]] = []
        metas = list(map(META, self.tensors))
        strided = [t for t in self.tensors if t.layout is torch.strided]
        strides = list(map(Tensor.stride, strided))
        if self.tensors:
            checks.append(
                lambda: list(map(META, self.tensors)) == metas and list(map(Tensor.stride, strided)) == strides
            )
        if self.empty:
            checks.append(lambda: not any(self.empty))
        if self.dicts:
            checks.append(self._dicts_hold)
            self._flatten_dicts()
        checks += [partial(_same_items, live, before) for live, _, before in self.lists]
        checks += [partial(eq, live, before) for live, _, before in self.sets]
        checks += self._pairwise_checks()
        if self.objects:
            types = list(map(type, self.objects))
            checks.append(lambda: all(map(is_, map(type, self.objects), types)))
        if self.functions:
            codes = list(chain.from_iterable(map(CODE, self.functions)))
            checks.append(lambda: all(map(is_, chain.from_iterable(map(CODE, self.functions)), codes)))
        contents = [before.tobytes() for *_, before in self.arrays]
        if contents:
            checks.append(lambda: [array.tobytes() for array, *_ in self.arrays] == contents)
        return checks

    def _pairwise_checks(self) -> list[Callable[[], bool]]:
        """Comparisons of variables and attributes, each found by its holder and its name."""
        checks: list[Callable[[], bool]] = []
        filled = [(cell, before) for cell, _, before in self.cells if before is not ABSENT]
        if filled:
            cells, contents = zip(*filled, strict=True)
            checks.append(lambda: all(map(is_, map(CONTENT, cells), contents)))
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

    def _dicts_hold(self) -> bool:
        same = (
            list(map(len, self._live)) == self._sizes
            and list(chain.from_iterable(self._live)) == self._keys
            and all(map(is_, chain.from_iterable(map(dict.values, self._live)), self._values))
        )
        return same or self._only_others_changed()

    def _only_others_changed(self) -> bool:
        """Whether what changed in the dictionaries are attributes that no code reads; they are taken anew."""
        if any(held.changes() for held in self.dicts):
            return False
        self.dicts = [held._replace(items=dict(held.live)) for held in self.dicts]
        self._flatten_dicts()
        return True

    def written(self) -> Iterator[str]:
        """What code has written to since, by name, but for what objects of libraries remember."""
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
        """Put every object back where it stood."""
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
