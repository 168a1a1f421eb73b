"""The run folder: the configuration of a run and its results.

config.toml   enough to repeat the run        checkpoint-*/   see ``checkpoint``
data.json     the data without their rows     samples/*.png, curves.png, scores.json
metrics.jsonl one object per logged step
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from pyrogen import ranks
from pyrogen.data.dataset import Description
from pyrogen.data.sources.snapshot import Snapshot
from pyrogen.errors import RunError, RunWarning
from pyrogen.files import append_line, clear_parts, read_regular, seal_json, unseal_json, write_error, write_whole
from pyrogen.locks import locked
from pyrogen.training.config import Config, RunConfig
from pyrogen.training.distributed.agreement import from_first
from pyrogen.training.monitoring.rows import RESUMED, read_rows, sealed_row

CONFIG, DATA, METRICS, LOCK = "config.toml", "data.json", "metrics.jsonl", ".lock"
DATA_VERSION = 1
"""The version of the form of ``data.json``."""
LARGEST_DATA = 1 << 30
"""The most bytes of ``data.json`` that are read: some hundred for each column of a table."""

C = TypeVar("C", bound=Config)


class Run(Generic[C]):
    """A run folder; make one with ``create``, or open one with ``open``. Of several processes the first alone writes.

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
        made = Path(from_first(lambda: cls._create(path, config, stored)))
        return cls(made, _with_data(config, made, stored))

    @classmethod
    def _create(cls, path: str | Path, config: C, stored: Snapshot | None) -> str:
        path = Path(path)
        config = _with_data(config, path, stored)
        if stored is not None:
            _clear_half_made(path, Path(config.data), type(config))
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
            stored.save(Path(config.data))
        return str(path)

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
        if ranks.rank() == 0:
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
        if ranks.rank():
            return
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
        if ranks.rank():
            yield
            return
        with locked(self.path / LOCK) as state:
            if not state:
                raise RunError(f"{self.path} is in use: another process is training in it")
            if isinstance(state, str):
                warnings.warn(f"{self.path} is not locked: {state}; train in one process only", RunWarning, 4)
            yield

    def log(self, row: Mapping[str, float]) -> None:
        """Append one object to ``metrics.jsonl``, with its SHA-256; numbers that are not finite become strings.

        Raises:
            RunError: if it cannot be written.
        """
        if ranks.rank():
            return
        self.check_present()
        append_line(self.path / METRICS, sealed_row(row))

    def metrics(self) -> list[dict[str, float]]:
        """The logged rows by their steps, as a run that was never interrupted has logged them.

        A row that is damaged, or was cut short, is left out. Of rows of the same step, the one written last counts.
        """
        rows: dict[int, dict[str, float]] = {}
        for row in read_rows(self.path / METRICS):
            if RESUMED in row:
                rows = {t: kept for t, kept in rows.items() if t <= row[RESUMED]}
            else:
                rows[int(row["t"])] = row
        return [rows[t] for t in sorted(rows)]

    def rewind(self, t: int) -> None:
        """Void the rows logged after step ``t``, which will be computed and logged again."""
        if any(row["t"] > t for row in self.metrics()):
            self.log({RESUMED: t})


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


def _with_data(config: C, path: Path, stored: Snapshot | None) -> C:
    """The configuration with absolute paths, and with the file that holds data in memory as its data."""
    config = config.with_absolute_paths()
    return config if stored is None else config.model_copy(update={"data": str((path / stored.file_name).absolute())})


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
