"""The run folder: the configuration of a run and its results.

config.toml   enough to repeat the run        checkpoint-*/   see ``checkpoint``
metrics.jsonl one object per logged step      samples/*.png, curves.png, scores.json
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from filelock import FileLock, Timeout

from pyrogen.errors import RunError
from pyrogen.files import write_whole
from pyrogen.training.config import Config, RunConfig

CONFIG, METRICS, LOCK = "config.toml", "metrics.jsonl", ".lock"

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
    def create(cls, path: str | Path, config: C) -> "Run[C]":
        """Make the folder and write ``config.toml``.

        Raises:
            RunError: if the folder holds anything already, or cannot be written.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            held = next(path.iterdir(), None)
            if (path / CONFIG).exists():
                raise RunError(
                    f"{path} already holds a run: continue it with `pyrogen resume {path}`, or choose another --out"
                )
            if held is not None:
                raise RunError(f"{path} is not empty (it holds {held.name!r}): choose another --out")
            write_whole(path / CONFIG, config.to_toml().encode())
        except OSError as error:
            raise RunError(f"cannot write into {path}: {error.strerror or error}") from error
        return cls(path, config)

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
        if not os.path.isfile(path / CONFIG):  # unlike that of Path, without an error for a name that is too long
            raise RunError(f"{path} is not a run folder: {CONFIG} is missing")
        return Run(path, schema.read(path / CONFIG))

    def note_fingerprint(self, fingerprint: str) -> None:
        """Write the fingerprint of the data into the configuration, unless it has one.

        Raises:
            RunError: if the folder cannot be written.
        """
        if self.config.fingerprint is None:
            self.config = self.config.model_copy(update={"fingerprint": fingerprint})
            write_whole(self.path / CONFIG, self.config.to_toml().encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for this process; the system releases the lock however the process ends.

        Raises:
            RunError: if another process has locked it.
        """
        guard = FileLock(self.path / LOCK, timeout=0)
        try:
            guard.acquire()
        except Timeout:
            raise RunError(f"{self.path} is in use: another process is training in it") from None
        except OSError as error:
            raise RunError(f"cannot write into {self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            guard.release()

    def log(self, row: Mapping[str, float | int]) -> None:
        """Append one object to ``metrics.jsonl``."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """Return the logged rows without a line that a crash cut short."""
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def rewind(self, t: int) -> None:
        """Remove the rows logged after step ``t``, which will be computed and logged again."""
        kept = [json.dumps(row) + "\n" for row in self.metrics() if row["t"] <= t]
        write_whole(self.path / METRICS, "".join(kept).encode())


def free_path(base: str | Path) -> Path:
    """``base`` if nothing is there, else ``base-2``, ``base-3``, ….."""
    base = Path(base)
    n, path = 1, base
    while os.path.exists(path):
        n += 1
        path = base.with_name(f"{base.name}-{n}")
    return path
