"""What a model was trained on: ``fit`` notes the rows it passes to a step, by their keys.

A note is kept for the step and for every network that it trains, so a network is known whether it is evaluated by
itself, in another model or by its step. Notes last as long as these objects; ``save`` writes them into a checkpoint and
``restore`` takes them back.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from pyrogen.data.dataset import Split
from pyrogen.data.fingerprint import Keys

Rows = Split | Keys
_notes: WeakKeyDictionary[Any, list[Rows]] = WeakKeyDictionary()


def note_rows(learner: Any, rows: Rows, anew: bool = False) -> None:
    """Note that a step or a model was trained on ``rows``.

    Args:
        learner: the step, a network, or an object that has networks or steps as attributes.
        rows: the split, whose keys are computed when they are asked for, or keys.
        anew: whether earlier notes no longer hold, as the weights were replaced.
    """
    for part in parts_of(learner):
        try:
            known = _notes.setdefault(part, [])
            if anew:
                known.clear()
        except TypeError:  # an object without a hash or weak references
            continue
        if not any(rows is other for other in known):
            known.append(rows)


def noted_rows(model: Any) -> list[Rows]:
    """What a model, or a part of it, was trained on; nothing for a model that ``fit`` did not train."""
    found: dict[int, Rows] = {}
    for part in parts_of(model):
        try:
            found |= {id(rows): rows for rows in _notes.get(part, ())}
        except TypeError:
            continue
    return list(found.values())


def seen_keys(model: Any) -> Keys | None:
    """The keys of all rows that a model was trained on, in ascending order; ``None`` if nothing was noted."""
    found = [rows.distinct_keys if isinstance(rows, Split) else np.unique(rows) for rows in noted_rows(model)]
    return (found[0] if len(found) == 1 else np.unique(np.concatenate(found))) if found else None


def known_rows(source: Any) -> Split | None:
    """The rows of what ``fit`` is given, if they can be known without reading them one by one."""
    if isinstance(source, DataLoader):
        source = source.dataset
    index = None
    if isinstance(source, Subset):
        source, index = source.dataset, source.indices
    if isinstance(source, TensorDataset):
        source = Split(source.tensors[0] if index is None else source.tensors[0][list(index)])
    return source if isinstance(source, Split) else None


def parts_of(thing: Any, depth: int = 3) -> Iterator[Any]:
    """A step or model, and the networks that it has: its modules, or those of its attributes."""
    yield thing
    listed = getattr(thing, "modules", None)
    if callable(listed):
        yield from (module for module in listed() if _learns(module))
        return
    for value in getattr(thing, "__dict__", {}).values() if depth else ():
        for part in value.values() if isinstance(value, Mapping) else (getattr(value, "__self__", value),):
            if isinstance(part, nn.Module) or hasattr(part, "state_dict"):
                yield from parts_of(part, depth - 1)


def _learns(module: Any) -> bool:
    """Whether a module has parameters that are trained, or only buffers, as closed-form models have."""
    parameters: list[Tensor] = list(module.parameters())
    return any(p.requires_grad for p in parameters) or not (parameters or next(module.buffers(), None) is None)
