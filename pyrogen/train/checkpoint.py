"""Checkpoints that are whole or not there.

A checkpoint is a folder ``checkpoint-<t>`` of three files: ``weights.safetensors``, ``state.pt`` (optimiser
and counters, readable without running code) and ``manifest.json`` with their SHA-256. It is written under
another name, flushed to disk and renamed, so that a crash at any moment leaves the older one.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyrogen.errors import RunError

KEEP = 2
"""How many checkpoints a run folder keeps; the older one serves when the newer is damaged."""

MANIFEST, WEIGHTS, STATE = "manifest.json", "weights.safetensors", "state.pt"


class Stateful(Protocol):
    """A network, a step, an average: anything whose state can be taken and put back."""

    def state_dict(self) -> dict[str, Any]:
        """The state: tensors, numbers, strings, lists and dicts of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take the state back."""
        ...


def save(folder: str | Path, *, t: int, **parts: Stateful) -> Path:
    """Write ``checkpoint-<t>`` of the named parts into ``folder``; older ones beyond ``KEEP`` go.

    A tensor that several parts share (the model's weights, which its step trains) is stored once.

    Args:
        folder: the run folder; made if absent.
        t: the number of steps done.
        parts: what to save, by name: ``model=vae, step=step``.

    Returns:
        The checkpoint's path.

    Raises:
        RunError: if the folder cannot be written.
    """
    folder = Path(folder)
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
    target = folder / f"checkpoint-{t:08d}"
    new = folder / f".new-{target.name}-{os.getpid()}"
    try:
        new.mkdir(parents=True)
        save_file(weights, new / WEIGHTS)
        torch.save(state, new / STATE)
        files = {name: _sha256(new / name) for name in (WEIGHTS, STATE)}
        (new / MANIFEST).write_text(json.dumps({"t": t, "aliases": aliases, "sha256": files}))
        for path in (*new.iterdir(), new):
            _flush(path)
        if target.exists():
            _remove(target)
        new.rename(target)
        _flush(folder)
    except OSError as error:
        raise RunError(f"cannot write a checkpoint into {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    for old in sorted(folder.glob("checkpoint-*"))[:-KEEP]:
        _remove(old)
    return target


def load(folder: str | Path, **parts: Stateful) -> int:
    """Put the newest whole checkpoint's state back into the named parts; return its step ``t``.

    Raises:
        RunError: if there is no whole checkpoint, or it does not fit the parts.
    """
    path = newest(folder)
    manifest = json.loads((path / MANIFEST).read_text())
    weights = load_file(path / WEIGHTS)
    weights |= {name: weights[other] for name, other in manifest["aliases"].items()}
    state = torch.load(path / STATE, weights_only=True, map_location="cpu")
    for part, stateful in parts.items():
        if part not in state:
            raise RunError(f"{path} holds no {part!r}; it holds {', '.join(state)}")
        named = {n.removeprefix(f"{part}."): w for n, w in weights.items() if n.startswith(f"{part}.")}
        try:
            stateful.load_state_dict(_join(named, state[part]))
        except (KeyError, RuntimeError) as error:
            raise RunError(f"{path} does not fit this {part}: {error}") from error
    return int(manifest["t"])


def newest(folder: str | Path) -> Path:
    """The newest checkpoint in ``folder`` whose files are all there and as they were written.

    Raises:
        RunError: if there is none; the message names the damaged ones.
    """
    damaged = []
    for path in sorted(Path(folder).glob("checkpoint-*"), reverse=True):
        if is_whole(path):
            return path
        damaged.append(path.name)
    found = f"; damaged: {', '.join(damaged)}" if damaged else ""
    raise RunError(f"no whole checkpoint in {folder}{found}")


def is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint is there with the checksum of its manifest."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        return all(_sha256(path / name) == digest for name, digest in manifest["sha256"].items())
    except (OSError, ValueError, KeyError):
        return False


def _split(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Weights, and the rest; a plain module's state is all weights."""
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    """Remove a folder so that a crash on the way leaves nothing that looks like a checkpoint."""
    gone = path.with_name(f".old-{path.name}")
    shutil.rmtree(gone, ignore_errors=True)
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
