"""Logged rows and pictures for other tools: TensorBoard, MLflow, or a function of the user's."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pyrogen import ranks
from pyrogen.errors import ConfigError, RunWarning, unknown
from pyrogen.files import read_regular, write_whole
from pyrogen.training.config import RunConfig
from pyrogen.training.monitoring.display import Watcher
from pyrogen.training.run import Run

Log = str | Callable[[dict[str, float]], Any]
"""Where rows go besides ``metrics.jsonl``: one of ``LOGS``, or a function that is called with each."""


class TensorBoard:
    """Scalars and pictures as TensorBoard reads them, in the folder ``tensorboard`` of the run.

    Args:
        run: the run; of one that is continued, what was logged after its checkpoint is discarded.
    """

    def __init__(self, run: Run[RunConfig]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make, self._folder = SummaryWriter, run.path / "tensorboard"
        self._writer: Any = None

    def _at(self, t: int) -> Any:
        if self._writer is None:
            self._writer = self._make(str(self._folder), purge_step=t)
        return self._writer

    def __call__(self, row: dict[str, float]) -> None:
        """Write the scalars of a row."""
        t = int(row["t"])
        for name, value in row.items():
            if name != "t":
                self._at(t).add_scalar(name, value, t)

    def picture(self, path: Path, t: int) -> None:
        """Write a picture of the run."""
        with Image.open(path) as picture:
            self._at(t).add_image("samples", np.array(picture.convert("RGB")), t, dataformats="HWC")

    def close(self) -> None:
        """Write what is held back."""
        if self._writer is not None:
            self._writer.close()


class MLflow:
    """Options, scalars and pictures as a run of MLflow, where ``MLFLOW_TRACKING_URI`` says; ``mlflow.txt`` names it.

    Args:
        run: the run; one that is continued goes on in its run of MLflow.
    """

    def __init__(self, run: Run[RunConfig]) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self._fault, note, config = MlflowException, run.path / "mlflow.txt", run.config
        try:
            self._client = MlflowClient()
            if note.exists():
                self.id = read_regular(note).decode().strip()
                return
            self.id = self._client.create_run("0", run_name=run.path.name).info.run_id
            for name, value in {"model": config.model, "data": config.data, **config.options}.items():
                self._client.log_param(self.id, name, value)
        except MlflowException as error:
            raise ConfigError(f"mlflow cannot log this run: {error}") from error
        write_whole(note, self.id.encode())

    def _send(self, method: str, *arguments: Any, **settings: Any) -> None:
        """Call the client; a server that cannot be reached does not end the training."""
        try:
            getattr(self._client, method)(self.id, *arguments, **settings)
        except self._fault as error:
            warnings.warn(f"mlflow did not log: {error}", RunWarning, stacklevel=3)

    def __call__(self, row: dict[str, float]) -> None:
        """Write the scalars of a row."""
        for name, value in row.items():
            if name != "t":
                self._send("log_metric", name, value, step=int(row["t"]))

    def picture(self, path: Path, t: int) -> None:
        """Keep a picture of the run."""
        self._send("log_artifact", str(path), "samples")

    def close(self) -> None:
        """Say that the run has ended."""
        self._send("set_terminated")


LOGS: dict[str, Callable[[Run[RunConfig]], Any]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
"""What ``--log`` can name."""


class Watchers:
    """Several watchers as one.

    Args:
        watchers: each is called with every row; those with a method ``picture(path, t)`` get the pictures.
    """

    def __init__(self, *watchers: Watcher) -> None:
        self.watchers = watchers

    def __call__(self, row: dict[str, float]) -> None:
        """Give all a row."""
        for watcher in self.watchers:
            watcher(row)

    def picture(self, path: Path, t: int) -> None:
        """Give a picture to those that take it."""
        for watcher in self.watchers:
            if hasattr(watcher, "picture"):
                watcher.picture(path, t)


def check_log(log: Log | None) -> None:
    """Raise ``ConfigError`` for an unknown name, or if the package that it needs is not installed."""
    if isinstance(log, str):
        if log not in LOGS:
            raise unknown("log", log, LOGS)
        try:
            import_module(log)
        except ImportError as error:
            raise ConfigError(f"--log {log} needs the package {log}: pip install 'pyrogen[{log}]'") from error


@contextmanager
def logged(run: Run[RunConfig], watch: Watcher | None, log: Log | None) -> Iterator[Watchers]:
    """Watchers of a run: its display, if there is one, and where its rows are logged.

    Raises:
        ConfigError: for an unknown name, or if the package that it needs is not installed.
    """
    check_log(log)
    if ranks.rank():  # of several processes the first alone writes
        log = None
    logger = LOGS[log](run) if isinstance(log, str) else log
    try:
        yield Watchers(*(each for each in (watch, logger) if each is not None))
    finally:
        close = getattr(logger, "close", None)
        if close is not None:
            close()
