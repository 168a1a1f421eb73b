"""The manifest of a checkpoint: its format, its step, and the checksum of every file, its own included."""

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from pyrogen.errors import RunError
from pyrogen.files import open_regular, read_regular, seal_json, unseal_json

MANIFEST, WEIGHTS, STATE, TENSORS = "manifest.json", "weights.safetensors", "state.json", "state.safetensors"
STATE_OF_0_1 = "state.pt"
FILES = {1: {WEIGHTS, STATE_OF_0_1}, 2: {WEIGHTS, STATE, TENSORS}}
"""The files of a checkpoint beside its manifest, by format; format 1 is that of version 0.1, which wrote no number."""
FORMAT = max(FILES)
"""The format that is written."""


class Damaged(Exception):
    """A checkpoint is not as it was written; the message says which file, and how."""


class Manifest(BaseModel):
    """What ``manifest.json`` says.

    Attributes:
        format: the number of the format.
        t: the number of training steps.
        write: the number of the checkpoint in the order of writing, from 1; 0 if a checkpoint of 0.1 has none.
        aliases: the further names of weights that several parts share, and the name under which each is stored.
        files: the SHA-256 of every other file.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: int
    t: NonNegativeInt
    write: int
    aliases: dict[str, str]
    files: dict[str, str]


def write_manifest(path: Path, t: int, write: int, aliases: Mapping[str, str]) -> None:
    """Write the manifest of the files in the folder ``path``."""
    files = {name: _sha256(path / name) for name in sorted(FILES[FORMAT])}
    manifest = Manifest(format=FORMAT, t=t, write=write, aliases=dict(aliases), files=files)
    (path / MANIFEST).write_text(seal_json(manifest.model_dump()))


def read_manifest(path: Path) -> Manifest:
    """The manifest of the checkpoint ``path``.

    Raises:
        Damaged: if it is missing, does not have its checksum, or does not list exactly the files of its format.
        RunError: if it is of a newer format.
    """
    if path.is_symlink():
        raise Damaged("it is a symbolic link")
    _expect_regular(path, MANIFEST)
    try:
        value = _unsealed(read_regular(path / MANIFEST))
    except RunError as error:
        raise Damaged(f"{MANIFEST} cannot be read") from error
    if value is None:
        raise Damaged(f"{MANIFEST} does not have its checksum")
    number = value.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise RunError(
            f"{path} has format {number}; this version of pyrogen reads formats up to {FORMAT}: use a newer one"
        )
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{MANIFEST} is not one of a checkpoint") from error
    if manifest.files.keys() != FILES.get(manifest.format):
        raise Damaged(f"{MANIFEST} does not list exactly the files of a checkpoint")
    return manifest


def check_files(path: Path, manifest: Manifest) -> None:
    """Raise ``Damaged`` unless every file is a regular one with the checksum of the manifest."""
    for name, digest in manifest.files.items():
        _expect_regular(path, name)
        try:
            found = _sha256(path / name)
        except RunError as error:
            raise Damaged(f"{name} cannot be read") from error
        if found != digest:
            raise Damaged(f"{name} does not have its checksum")


def _unsealed(content: bytes) -> dict[str, Any] | None:
    """The manifest without its checksum, that of 0.1 in the form of later ones; ``None`` if the checksum is another."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if "format" in value:
        return unseal_json(content)
    check = value.pop("check", None)  # the first checkpoints of 0.1 had neither this nor ``write``
    if check is not None and check != hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest():
        return None
    files = value.pop("sha256", None)
    return {"format": 1, "write": 0, **value, "files": files}


def _expect_regular(path: Path, name: str) -> None:
    """Raise ``Damaged`` unless a file of a checkpoint is there and is neither a link, a FIFO nor a device."""
    try:
        mode = (path / name).lstat().st_mode
    except OSError as error:
        raise Damaged(f"{name} is missing") from error
    if not stat.S_ISREG(mode):
        raise Damaged(f"{name} is not a regular file")


def _sha256(file: Path) -> str:
    with open_regular(file) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
