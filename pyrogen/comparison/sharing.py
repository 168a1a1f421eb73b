"""Several processes that train and score the models of one comparison, each model with one seed in one of them.

A process locks what it works on, by a file in the folder of the comparison. What is locked is left to the process that
has it, and what has been scored is read from the folder, so the results do not depend on the number of processes.
"""

import os
import time
from collections.abc import Sequence

import torch

from pyrogen import launched, ranks
from pyrogen.comparison.models import ModelSpec
from pyrogen.comparison.results import Results
from pyrogen.errors import RunError
from pyrogen.locks import locked
from pyrogen.training.device import pick_device

PAUSE = 0.2
"""The seconds between two looks for what the others have finished."""


def processes() -> int:
    """How many processes ``torchrun`` has started for this command; 1 if they are a group, which trains together."""
    return 1 if ranks.world() > 1 else launched.processes()


def own_device(name: str) -> torch.device:
    """The device called ``name``, as for ``pick_device``; of several processes each has a GPU of its host."""
    device = pick_device(name)
    if processes() > 1 and device.type == "cuda" and device.index is None:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    return device


def share_out(results: Results, specs: Sequence[ModelSpec]) -> None:
    """Train and score models until all are done; a process that is not the first also ends when others do the rest.

    Raises:
        RunError: if the file system has no locks.
    """
    pending = [(spec, seed) for spec in specs for seed in results.scorers]
    while pending:
        left = len(pending)
        for spec, seed in list(pending):
            with locked(results.run.path / f".{results.folder_of(spec, seed)}.lock") as mine:
                if isinstance(mine, str):
                    raise RunError(f"several processes cannot share {results.run.path}: {mine}; compare in one process")
                if mine:
                    results.find(spec, seed)
                    pending.remove((spec, seed))
        if pending and len(pending) == left:
            if launched.process():
                return
            time.sleep(PAUSE)
