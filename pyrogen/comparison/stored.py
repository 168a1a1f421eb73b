"""Scores that are kept in the folder of a comparison: what was computed once is not computed again.

An entry is a checkpoint in ``scored/NAME``, so it is whole or absent, and a damaged one is noticed. It holds a key of
everything that its scores depend on, and counts only where that is the same.
"""

import json
import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.data.fingerprint import fingerprint
from pyrogen.errors import RunError, RunWarning
from pyrogen.protocols import Score
from pyrogen.report.pictures import Pictures
from pyrogen.report.templates import installed_version
from pyrogen.training import checkpoint
from pyrogen.training.checkpoint.manifest import MANIFEST
from pyrogen.training.config import Config, RunConfig
from pyrogen.training.run import Run

SCORED = "scored"
OTHER_SETTINGS = {
    "models", "own", "steps", "seconds", "examples", "batch_size", "seeds", "seed", "data", "data_root", "device",
    "fingerprint",
}  # fmt: skip
"""The settings of a comparison on which the scores of a trained model do not depend by themselves."""


def data_key(config: Config, data: Dataset, seed: int) -> str:
    """The key of what the scores of any model on ``data`` depend on: rows, space, settings, seed and version."""
    settings = config.model_dump(mode="json", exclude=OTHER_SETTINGS)
    return _digest([installed_version(), settings, fingerprint(data), data.description.to_json(), seed])


def run_key(run: Run[RunConfig]) -> str:
    """The key of a run: its recipe with all options, and the newest checkpoint, byte by byte; without one it is new."""
    options = {name: str(value) for name, value in run.config.options.items()}
    found = checkpoint.found(run.path)
    manifest = (checkpoint.newest(run.path) / MANIFEST).read_text() if found else ""
    return _digest([run.config.model, options, manifest])


def load_entry(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    """What ``save_entry`` was given under this name and key; ``None`` if there is no such entry."""
    kept = _Kept()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RunWarning)  # a damaged entry is computed again
            checkpoint.restore(folder / SCORED / name, entry=kept)
    except RunError:
        return None
    return _unpacked(kept.state["content"]) if kept.state["key"] == key else None


def save_entry(folder: Path, name: str, key: str, entry: Mapping[str, Any], t: int = 0) -> None:
    """Keep an entry of scores, pictures and what JSON holds.

    Raises:
        RunError: if it cannot be written.
    """
    checkpoint.save(folder / SCORED / name, t=t, entry=_Kept({"key": key, "content": _packed(entry)}))


class _Kept:
    """A state as a part of a checkpoint."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state = state or {}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


_KINDS: dict[str, type[Any]] = {"score": Score, "pictures": Pictures}


def _packed(value: Any) -> Any:
    """Scores and pictures as mappings."""
    for kind, made in _KINDS.items():
        if isinstance(value, made):
            return {"kind of entry": kind, **{name: _packed(part) for name, part in vars(value).items()}}
    if isinstance(value, Mapping):
        return {name: _packed(part) for name, part in value.items()}
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _unpacked(value: Any) -> Any:
    """The inverse of ``_packed``."""
    if not isinstance(value, dict):
        return value
    parts = {name: _unpacked(part) for name, part in value.items()}
    kind = parts.pop("kind of entry", None)
    return parts if kind is None else _KINDS[kind](**parts)


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
