"""Atomic checkpoints.

A checkpoint is a folder ``checkpoint-<t>`` of three files: ``weights.safetensors``, ``state.pt`` (optimiser
and counters, readable without running code) and ``manifest.json`` with their SHA-256. It is written under
a temporary name, flushed to disk and renamed; only then are older ones removed. A crash at any moment leaves either
the previous newest checkpoint or the new one.

The manifest numbers the checkpoints of a folder in the order in which they were written, whatever their ``t``:
the newest is the one written last. If the name exists, the number is appended: ``checkpoint-<t>-<number>``.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyrogen.errors import RunError
from pyrogen.protocols import Stateful
from pyrogen.training.seen import note_rows, seen_keys

KEEP = 2
"""How many checkpoints a run folder keeps, those written last; the older one is used if the newer is damaged."""

MANIFEST, WEIGHTS, STATE = "manifest.json", "weights.safetensors", "state.pt"

_NAME = re.compile(r"checkpoint-\d+(-\d+)?")
_SEEN = "rows seen"  # the entry of what was trained on; no part has a name with a space
_serial = count()
# One thread saves at a time, reentrant because a signal handler may save; one process at a time saves in a folder.
_saving = RLock()
_in_use: set[str] = set()  # names of folders that this process is writing


def _renew() -> None:
    """Release the lock in a process that was forked during a save."""
    global _saving
    _saving = RLock()


os.register_at_fork(after_in_child=_renew)


def save(folder: str | Path, *, t: int, **parts: Stateful) -> Path:
    """Write a checkpoint of the named parts into ``folder``, and keep the one written before it.

    A tensor that several parts share (the model's weights, which its step trains) is stored once.

    Args:
        folder: the run folder; made if absent.
        t: the number of training steps; it may be at or below that of an existing checkpoint.
        parts: what to save, by name: ``model=vae, step=step``.

    Returns:
        The path of the checkpoint: ``checkpoint-<t>``, with a number appended if that name exists.

    Raises:
        RunError: if the folder cannot be written; existing checkpoints are unchanged.
    """
    weights, aliases, state = _stored(parts)
    seen = {part: seen_keys(stateful) for part, stateful in parts.items()}
    state[_SEEN] = {part: torch.from_numpy(keys.view(np.int64)) for part, keys in seen.items() if keys is not None}
    with _saving:
        return _write(Path(folder), t, weights, aliases, state)


def _write(folder: Path, t: int, weights: dict[str, Tensor], aliases: dict[str, str], state: dict[str, Any]) -> Path:
    """Write, flush and rename; only then remove older ones."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        with _new_folder(folder) as new:
            save_file(weights, new / WEIGHTS)
            torch.save(state, new / STATE)
            write = 1 + max([order[0] for order in map(_order, found(folder))], default=0)
            files = {name: _sha256(new / name) for name in (WEIGHTS, STATE)}
            manifest = {"t": t, "write": write, "aliases": aliases, "sha256": files}
            (new / MANIFEST).write_text(json.dumps({**manifest, "check": _check(manifest)}))
            for path in (*new.iterdir(), new):
                _flush(path)
            target = _rename(new, folder / f"checkpoint-{t:08d}", write)
        _flush(folder)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RunError(f"cannot write a checkpoint into {folder}: {getattr(error, 'strerror', 0) or error}") from error
    others = sorted((path for path in found(folder) if path != target), key=_order)
    for old in others[: max(len(others) + 1 - KEEP, 0)]:
        _remove(old)
    return target


def restore(folder: str | Path, **parts: Stateful) -> int:
    """Restore the named parts from the newest valid checkpoint; return its step ``t``.

    Raises:
        RunError: if there is no valid checkpoint, or it does not fit the parts.
    """
    while True:
        path = newest(folder)
        try:
            manifest = json.loads((path / MANIFEST).read_text())
            weights = load_file(path / WEIGHTS)
            state = torch.load(path / STATE, weights_only=True, map_location="cpu")
            break
        except FileNotFoundError:
            if path.exists():
                raise  # else a run that goes on has just removed it, and has written a newer one
    seen = state.pop(_SEEN, {})
    weights |= {name: weights[other] for name, other in manifest["aliases"].items()}
    for part, stateful in parts.items():
        if part not in state:
            raise RunError(f"{path} does not contain {part!r}; it contains {', '.join(state)}")
        named = {n.removeprefix(f"{part}."): w for n, w in weights.items() if n.startswith(f"{part}.")}
        try:
            stateful.load_state_dict(_join(named, state[part]))
        except (KeyError, RuntimeError) as error:
            raise RunError(f"{path} does not fit this {part}: {error}") from error
        if part in seen:
            note_rows(stateful, seen[part].numpy().view(np.uint64), anew=True)
    return int(manifest["t"])


def newest(folder: str | Path) -> Path:
    """The newest valid checkpoint: the one written last whose files have the checksums of its manifest.

    Raises:
        RunError: if there is none; the message names damaged ones.
    """
    damaged: list[Path] = []
    present = found(folder)
    while present != damaged:  # a run that goes on may have removed what was there, and written others
        for path in sorted(present, key=_order, reverse=True):
            if is_whole(path):
                return path
        damaged, present = present, found(folder)
    names = f"; damaged: {', '.join(path.name for path in damaged)}" if damaged else ""
    raise RunError(f"no valid checkpoint in {folder}{names}")


def found(folder: str | Path) -> list[Path]:
    """The checkpoints in ``folder`` by name, damaged ones included, other files excluded."""
    paths = Path(folder).glob("checkpoint-*")
    return sorted(path for path in paths if _NAME.fullmatch(path.name) and path.is_dir())


def is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint has the checksum of its manifest."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        check = manifest.pop("check", None)  # version 0.1 wrote none
        same = check is None or check == _check(manifest)
        return same and all(_sha256(path / name) == digest for name, digest in manifest["sha256"].items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _stored(parts: dict[str, Stateful]) -> tuple[dict[str, Tensor], dict[str, str], dict[str, Any]]:
    """Each tensor once by name, the further names of shared ones, and the state that is not tensors by part."""
    weights: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    state: dict[str, Any] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for part, stateful in parts.items():
        named, state[part] = _split(stateful.state_dict())
        for key, tensor in named.items():
            name = f"{part}.{key}"
            place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
            if place in seen:
                aliases[name] = seen[place]
            else:
                seen[place] = name
                weights[name] = tensor.detach().cpu().contiguous().clone()
    return weights, aliases, state


def _split(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Split a state into weights and the rest; a plain module's state is weights alone."""
    if "weights" in state:
        return state["weights"], {k: v for k, v in state.items() if k != "weights"}
    if all(isinstance(v, Tensor) for v in state.values()):
        return state, None
    return {}, state


def _join(weights: dict[str, Tensor], rest: dict[str, Any] | None) -> dict[str, Any]:
    """The inverse of ``_split``."""
    if rest is None:
        return dict(weights)
    return {"weights": weights, **rest} if weights else rest


def _order(path: Path) -> tuple[int, int, str]:
    """The sort key of the order of writing; a checkpoint without a readable manifest comes first."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        return int(manifest.get("write", 0)), int(manifest["t"]), path.name  # version 0.1 gave no number
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return -1, 0, path.name


def _check(manifest: dict[str, Any]) -> str:
    """The checksum of a manifest itself."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder named after this process; removed at the end unless renamed."""
    new = folder / f".new-{os.getpid()}-{next(_serial)}"
    _in_use.add(new.name)
    try:
        new.mkdir()
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)
        _in_use.discard(new.name)


def _rename(new: Path, target: Path, write: int) -> Path:
    """Rename a finished folder, with a number appended if the name exists; nothing is ever replaced."""
    numbers = count(write)
    path = target
    while True:
        try:
            if not path.exists():  # else an empty folder of that name would be replaced
                return new.rename(path)
        except OSError:
            if not path.exists():
                raise
        path = target.with_name(f"{target.name}-{next(numbers)}")


def _remove(path: Path) -> None:
    """Remove a folder so that a crash on the way leaves nothing that looks like a checkpoint."""
    gone = path.with_name(f".old-{path.name}-{os.getpid()}-{next(_serial)}")
    try:
        path.rename(gone)
    except FileNotFoundError:
        return  # another process was faster
    except OSError as error:
        raise RunError(f"the checkpoint is written, but {path} cannot be removed: {error.strerror}") from error
    shutil.rmtree(gone, ignore_errors=True)


def _clear(folder: Path) -> None:
    """Remove what crashed processes have left: incomplete new checkpoints and half-removed old ones."""
    for path in folder.glob(".old-checkpoint-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".new-*"):
        if path.name not in _in_use and not _is_another(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _is_another(name: str) -> bool:
    """Whether a temporary folder belongs to another living process, whose number is in its name."""
    # ``.new-<process>-<serial>``; in version 0.1 ``.new-checkpoint-<t>-<process>``.
    words = name.split("-")
    number = words[-1] if words[1] == "checkpoint" else words[1]
    if not number.isdigit():
        return True  # not ours
    if int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # alive, and somebody else's
    return True
