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


def run(target: Callable[..., None], *args: Any, folder: Path, timeout: float = 300) -> Done:
    """Call ``target(*args)`` in a new process with the working directory ``folder`` and return what it printed.

    Warnings are errors, torch has one thread, and ``PYROGEN_DATA`` is not set.

    Args:
        target: a function of a module that can be imported.
        args: its arguments.
        folder: the working directory.
        timeout: seconds after which it is killed.
    """
    with TemporaryDirectory() as logs:
        outputs = [Path(logs, stream) for stream in ("stdout", "stderr")]
        process = CONTEXT.Process(target=_child, args=(target, args, folder, outputs))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
        return Done(process.exitcode, *(path.read_text() for path in outputs))


def _child(target: Callable[..., None], args: tuple[Any, ...], folder: Path, outputs: list[Path]) -> None:
    for descriptor, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    os.chdir(folder)
    os.environ.pop("PYROGEN_DATA", None)
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    target(*args)


def script(path: Path, *arguments: str) -> None:
    """Run a file as the main program."""
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")
