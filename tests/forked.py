"""Programs run in processes of their own that cost a fork: a server has imported pyrogen once."""

import multiprocessing
import os
import runpy
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import quick
import torch

CONTEXT = multiprocessing.get_context("forkserver")
PRELOAD = [
    "pyrogen.comparison",
    "pyrogen.cli.entry",
    "matplotlib.backends.backend_agg",
    "sklearn.datasets",
    "torch._dynamo",
]
CONTEXT.set_forkserver_preload(PRELOAD)


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    returncode: int | None
    stdout: str
    stderr: str


class Started:
    """A program that runs: ``target(*args)`` in a new process with the working directory ``folder``.

    Warnings are errors, torch has one thread, measures are quick, and ``PYROGEN_DATA`` is not set.

    Args:
        target: a function of a module that can be imported.
        args: its arguments.
        folder: the working directory.
    """

    def __init__(self, target: Callable[..., None], *args: Any, folder: Path) -> None:
        self._logs = TemporaryDirectory()
        self._outputs = [Path(self._logs.name, stream) for stream in ("stdout", "stderr")]
        self.process = CONTEXT.Process(target=_child, args=(target, args, folder, self._outputs))
        self.process.start()

    def ended(self, timeout: float = 300) -> Done:
        """What it printed, once it has ended; after ``timeout`` seconds it is killed."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        with self._logs:
            return Done(self.process.exitcode, *(path.read_text() for path in self._outputs))


def run(target: Callable[..., None], *args: Any, folder: Path, timeout: float = 300) -> Done:
    """Start a program and wait until it has ended."""
    return Started(target, *args, folder=folder).ended(timeout)


def pyrogen(*arguments: object) -> None:
    """Run as the command ``pyrogen``; warnings of users are printed, and others are errors."""
    from pyrogen.cli import main

    sys.argv = ["pyrogen", *map(str, arguments)]
    main()


def _child(target: Callable[..., None], args: tuple[Any, ...], folder: Path, outputs: list[Path]) -> None:
    for descriptor, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    os.chdir(folder)
    os.environ.pop("PYROGEN_DATA", None)
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    quick.measures()
    target(*args)


def script(path: Path, *arguments: str) -> None:
    """Run a file as the main program."""
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")
