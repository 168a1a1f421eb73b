"""The run folder: the configuration of a run and its results.

config.toml   enough to repeat the run        checkpoint-*/   see ``checkpoint``
data.json     the data without their rows     samples/*.png, curves.png, scores.json
metrics.jsonl one object per logged step
"""

import errno
import fcntl
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from pyrogen.data.dataset import Description
from pyrogen.data.sources.snapshot import Snapshot
from pyrogen.errors import RunError, RunWarning
from pyrogen.files import append_line, clear_parts, read_regular, seal_json, unseal_json, write_error, write_whole
from pyrogen.training.config import Config, RunConfig

CONFIG, DATA, METRICS, LOCK = "config.toml", "data.json", "metrics.jsonl", ".lock"
DATA_VERSION = 1
"""The version of the form of ``data.json``."""
LARGEST_DATA = 1 << 30
"""The most bytes of ``data.json`` that are read: some hundred for each column of a table."""

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
_RESUMED = "resumed_after"  # the key of a row that voids the rows before it of later steps
_ROW = re.compile(r"\{[^{}]*\}")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_locked: set[int] = set()  # descriptors of locks


def _close_locks() -> None:
    """Leave the locks to the process that took them: a forked worker that outlives it does not hold them."""
    for handle in _locked:
        with suppress(OSError):
            os.close(handle)
    _locked.clear()


os.register_at_fork(after_in_child=_close_locks)

C = TypeVar("C", bound=Config)


class Run(Generic[C]):
    """A run folder; make one with ``create``, or open one with ``open``.

    Attributes:
        path: the folder.
        config: its configuration.
    """

    def __init__(self, path: Path, config: C) -> None:
        self.path, self.config = path, config

    @classmethod
    def create(cls, path: str | Path, config: C, stored: Snapshot | None = None) -> "Run[C]":
        """Make the folder and write ``config.toml``, with absolute paths.

        Args:
            path: the folder.
            config: its configuration.
            stored: data in memory, which are stored in the folder and become the data of the configuration.

        Raises:
            RunError: if the folder holds anything already, or cannot be written.
        """
        path, config = Path(path), config.with_absolute_paths()
        if stored is not None:
            file = (path / stored.file_name).absolute()
            _clear_half_made(path, file, type(config))
            config = config.model_copy(update={"data": str(file)})
        try:
            path.mkdir(parents=True, exist_ok=True)
            clear_parts(path, CONFIG)
            _check_empty(path)
            run = cls(path, config)
            with run.lock():
                _check_empty(path)  # another process may have made a run there
                write_whole(path / CONFIG, _stored(config, path))
        except OSError as error:
            raise write_error(path, error) from error
        if stored is not None:
            stored.save(file)
        return run

    @overload
    @classmethod
    def open(cls, path: str | Path) -> "Run[RunConfig]": ...

    @overload
    @classmethod
    def open(cls, path: str | Path, schema: type[C]) -> "Run[C]": ...

    @classmethod
    def open(cls, path: str | Path, schema: type[Any] = RunConfig) -> "Run[Any]":
        """Open a folder that ``create`` made.

        Args:
            path: the folder.
            schema: the type of its configuration.

        Raises:
            RunError: if there is no readable run.
            ConfigError: if its configuration has a fault.
        """
        path = Path(path)
        if not os.path.exists(path / CONFIG):  # unlike that of Path, without an error for a name that is too long
            raise RunError(f"{path} is not a run folder: {CONFIG} is missing")
        return Run(path, schema.read(path / CONFIG))

    def update(self, config: C) -> None:
        """Replace the configuration, also in the folder.

        Raises:
            RunError: if the folder cannot be written.
        """
        write_whole(self.path / CONFIG, _stored(config, self.path))
        self.config = config

    def check_present(self) -> None:
        """Raise ``RunError`` if the folder was removed or renamed since: nothing is written into a new one."""
        if not (self.path / CONFIG).exists():
            raise RunError(f"cannot write into {self.path}: the run folder was removed or renamed")

    def describe_data(self, data: Description, chosen: Mapping[str, Any]) -> None:
        """Write ``data.json``, unless it says the same.

        Args:
            data: the description of the data that the model is trained on.
            chosen: the values of options that the recipe has chosen by the rows.

        Raises:
            RunError: if the folder cannot be written.
        """
        form = {"version": DATA_VERSION, "data": data.to_json(), "chosen": dict(chosen)}
        sealed = seal_json(form).encode()
        if not (self.path / DATA).exists() or read_regular(self.path / DATA) != sealed:
            write_whole(self.path / DATA, sealed)

    def described_data(self) -> tuple[Description, dict[str, Any]] | None:
        """What ``describe_data`` was given; ``None`` if there is no ``data.json``, as in version 0.1.

        Raises:
            RunError: if it is damaged, or of a later version.
        """
        path = self.path / DATA
        if not path.exists():
            return None
        form = unseal_json(read_regular(path, LARGEST_DATA))
        if form is None:
            raise RunError(
                f"{path} is damaged: restore it, or delete it if the data are at hand, which are then described anew"
            )
        if form.get("version") != DATA_VERSION:
            raise RunError(f"{path} has version {form.get('version')}; this pyrogen reads version {DATA_VERSION}")
        try:
            return Description.from_json(form["data"]), dict(form["chosen"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is not a description of data as pyrogen writes it") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for this process; the system releases the lock however the process ends.

        A file system without locks gives a ``RunWarning`` in place of the lock.

        Raises:
            RunError: if another process has locked it.
        """
        try:
            handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise write_error(self.path / LOCK, error) from error
        _locked.add(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock(handle)
            raise RunError(f"{self.path} is in use: another process is training in it") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self._unlock(handle)
                raise write_error(self.path / LOCK, error) from error
            reason = f"its file system has no locks ({error.strerror})"
            warnings.warn(f"{self.path} is not locked: {reason}; train in one process only", RunWarning, stacklevel=4)
        try:
            yield
        finally:
            self._unlock(handle)

    @staticmethod
    def _unlock(handle: int) -> None:
        if handle in _locked:  # else this is a fork of the process that has the lock
            _locked.discard(handle)
            os.close(handle)

    def log(self, row: Mapping[str, float]) -> None:
        """Append one object to ``metrics.jsonl``, with its SHA-256; numbers that are not finite become strings.

        Raises:
            RunError: if it cannot be written.
        """
        self.check_present()
        written = {name: value if isfinite(value) else json.dumps(value) for name, value in row.items()}
        append_line(self.path / METRICS, seal_json(written, indent=None))

    def metrics(self) -> list[dict[str, float]]:
        """The logged rows by their steps, as a run that was never interrupted has logged them.

        A row that is damaged, or was cut short, is left out. Of rows of the same step, the one written last counts.
        """
        rows: dict[int, dict[str, float]] = {}
        for row in self._all_rows():
            if _RESUMED in row:
                rows = {t: kept for t, kept in rows.items() if t <= row[_RESUMED]}
            else:
                rows[int(row["t"])] = row
        return [rows[t] for t in sorted(rows)]

    def rewind(self, t: int) -> None:
        """Void the rows logged after step ``t``, which will be computed and logged again."""
        if any(row["t"] > t for row in self.metrics()):
            self.log({_RESUMED: t})

    def _all_rows(self) -> Iterator[dict[str, float]]:
        path = self.path / METRICS
        text = read_regular(path).decode(errors="replace") if path.exists() else ""
        for found in _ROW.finditer(text):  # not by lines: the end of one can be damaged
            row = _parsed_row(found[0])
            if row is not None:
                yield row


def _parsed_row(text: str) -> dict[str, float] | None:
    """A row of ``metrics.jsonl``; ``None`` if it is damaged. In version 0.1 rows have no checksum."""
    row = unseal_json(text)
    if row is None:
        try:
            row = json.loads(text)
        except ValueError:
            return None
    row = {name: float(value) if value in _NOT_FINITE else value for name, value in row.items()}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in row.values())
    return row if numbers and isinstance(row.get("t", row.get(_RESUMED)), int) else None


def _check_empty(path: Path) -> None:
    """Raise ``RunError`` if a folder holds more than what is left of a run that was not made to the end."""
    if (path / CONFIG).exists():
        raise RunError(f"{path} already holds a run: continue it with `pyrogen resume {path}`, or choose another --out")
    left = re.compile(rf"\.lock|\.{re.escape(CONFIG)}\..*\.part")
    held = next((entry.name for entry in path.iterdir() if not left.fullmatch(entry.name)), None)
    if held is not None:
        raise RunError(f"{path} is not empty (it holds {held!r}): choose another --out")


def _clear_half_made(path: Path, file: Path, schema: type[Config]) -> None:
    """Remove the configuration in ``path`` of a run that was stopped before it had stored its data."""
    if not (path / CONFIG).exists() or file.exists():
        return
    clear_parts(path, file.name)
    names = {entry.name for entry in path.iterdir()}
    if names <= {CONFIG, LOCK} and Path(schema.read(path / CONFIG).data).name == file.name:
        (path / CONFIG).unlink()


def _stored(config: Config, folder: Path) -> bytes:
    """A configuration as it is written into a run folder.

    The path of data that lie in the folder, or in that of the comparison around it, is relative to it and begins with
    ``./`` or ``../``: they are found wherever it is moved.
    """
    here = Path(os.path.abspath(folder))
    around = here.parent if (here.parent / CONFIG).exists() else here
    if os.path.isabs(config.data) and Path(config.data).is_relative_to(around):
        path = os.path.relpath(config.data, here)
        config = config.model_copy(update={"data": path if path.startswith("..") else f"./{path}"})
    return config.to_toml().encode()


def free_path(base: str | Path) -> Path:
    """``base`` if nothing is there, else ``base-2``, ``base-3``, ….."""
    base = Path(base)
    n, path = 1, base
    while os.path.exists(path):
        n += 1
        path = base.with_name(f"{base.name}-{n}")
    return path
