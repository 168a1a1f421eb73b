"""Checkpoints are saved and restored; the newest whole one is the one that counts."""

import operator
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import TypeVar

from safetensors import SafetensorError

from pyrogen import ranks
from pyrogen.errors import RunError, RunWarning
from pyrogen.files import write_error
from pyrogen.protocols import Stateful
from pyrogen.training.checkpoint.contents import Contents, Stored, collect, read
from pyrogen.training.checkpoint.folders import clear, flush, found, new_folder, remove, rename
from pyrogen.training.checkpoint.manifest import Damaged, Manifest, check_files, read_manifest, write_manifest
from pyrogen.training.seen import note_rows

KEEP = 2
"""How many checkpoints a run folder keeps, those written last; the older one is used if the newer is damaged."""

T = TypeVar("T")
# One thread saves at a time, reentrant because a signal handler may save; one process at a time saves in a folder.
_saving = RLock()


def _renew() -> None:
    """Release the lock in a process that was forked during a save."""
    global _saving
    _saving = RLock()


os.register_at_fork(after_in_child=_renew)


def save(folder: str | Path, *, t: int, **parts: Stateful) -> Path:
    """Write a checkpoint of the named parts into ``folder``, and keep the one written before it.

    A tensor that several parts share (the model's weights, which its step trains) is stored once. The state of a part
    may hold tensors, arrays, numbers, texts, and containers of them, in any depth up to 100. Of several processes the
    first alone writes.

    Args:
        folder: the run folder; made if absent.
        t: the number of training steps; it may be at or below that of an existing checkpoint.
        parts: what to save, by name: ``model=vae, step=step``.

    Returns:
        The path of the checkpoint: ``checkpoint-<t>``, with a number appended if that name exists.

    Raises:
        RunError: if the folder cannot be written, or a part's state holds something else, which the message names;
            existing checkpoints are unchanged.
    """
    if t < 0:
        raise RunError(f"cannot save a checkpoint of step {t}: expected a number of steps from 0")
    if ranks.rank():
        return Path(folder) / f"checkpoint-{t:08d}"
    stored = collect(parts)
    with _saving:
        return _write(Path(folder), operator.index(t), stored)


def _write(folder: Path, t: int, stored: Stored) -> Path:
    """Write, flush and rename; only then remove older ones."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear(folder)
        with new_folder(folder) as new:
            stored.write(new)
            write = 1 + max([manifest.write for _, manifest in _listed(folder)[0]], default=0)
            write_manifest(new, t, write, stored.aliases)
            for path in (*new.iterdir(), new):
                flush(path)
            target = rename(new, folder / f"checkpoint-{t:08d}", write)
        flush(folder)
    except (OSError, SafetensorError, RuntimeError, UnicodeError) as error:
        raise write_error(folder / f"checkpoint-{t:08d}", error, stored.nbytes) from error
    readable, damaged = _listed(folder)
    others = [path for path in (*damaged, *(path for path, _ in readable)) if path != target]
    for old in others[: max(len(others) + 1 - KEEP, 0)]:
        remove(old)
    return target


def restore(folder: str | Path, **parts: Stateful) -> int:
    """Restore the named parts from the newest valid checkpoint; return its step ``t``.

    A damaged checkpoint is passed over, with a ``RunWarning`` that names it and the one used.

    Raises:
        RunError: if there is no valid checkpoint, if it does not fit the parts, or if the newest is of a later format.
    """
    path, manifest, contents = _newest(folder, _read)
    for part, stateful in parts.items():
        if part not in contents.states:
            raise RunError(f"{path} does not contain {part!r}; it contains {', '.join(map(repr, contents.states))}")
        try:
            stateful.load_state_dict(contents.states[part])
        except Exception as error:  # as many kinds as there are parts
            raise RunError(f"{path} does not fit this {part}: {' '.join(str(error).split())}") from error
        if part in contents.seen:
            note_rows(stateful, contents.seen[part], anew=True)
    return manifest.t


def newest(folder: str | Path) -> Path:
    """The newest valid checkpoint: the one written last whose files have the checksums of its manifest.

    Raises:
        RunError: if there is none; the message names damaged ones. If one is of a later format.
    """
    return _newest(folder, check_files)[0]


def is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint has the checksum of its manifest."""
    try:
        check_files(path, read_manifest(path))
    except Damaged:
        return False
    return True


def _read(path: Path, manifest: Manifest) -> Contents:
    check_files(path, manifest)
    return read(path, manifest)


def _newest(folder: str | Path, use: Callable[[Path, Manifest], T]) -> tuple[Path, Manifest, T]:
    """The checkpoint written last that ``use`` does not find damaged, its manifest, and what ``use`` returns."""
    while True:
        present = found(folder)
        readable, damaged = _listed(folder)
        for path, manifest in reversed(readable):
            try:
                used = use(path, manifest)
            except Damaged as error:
                if path.exists():  # else a run that goes on has just removed it
                    damaged[path] = str(error)
                continue
            if damaged:
                warnings.warn(f"{folder}: {_named(damaged)}; {path.name} is used", RunWarning, stacklevel=3)
            return path, manifest, used
        if present == found(folder):  # else it has written others
            names = f": {_named(damaged)}" if damaged else ""
            raise RunError(f"no valid checkpoint in {folder}{names}")


def _named(damaged: dict[Path, str]) -> str:
    return ", ".join(f"{path.name} is damaged ({reason})" for path, reason in damaged.items())


def _listed(folder: str | Path) -> tuple[list[tuple[Path, Manifest]], dict[Path, str]]:
    """The checkpoints with their manifests in the order of writing; and those without a readable one, and why."""
    readable: list[tuple[Path, Manifest]] = []
    damaged: dict[Path, str] = {}
    for path in found(folder):
        try:
            readable.append((path, read_manifest(path)))
        except Damaged as error:
            if path.exists():
                damaged[path] = str(error)
    return sorted(readable, key=lambda item: (item[1].write, item[1].t, item[0].name)), damaged
