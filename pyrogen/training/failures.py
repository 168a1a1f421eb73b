"""What failed in a training step: ``Diverged`` with its cause, ``OutOfMemory`` with what it needed."""

import re
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrogen import ranks
from pyrogen.data.batches import batch_rows, batches
from pyrogen.data.dataset import Split
from pyrogen.data.step_arguments import Batch, check_dtypes, device_of, iterate_tensors, select_arguments
from pyrogen.errors import Diverged, OutOfMemory, RunError, UserError, is_out_of_memory
from pyrogen.random import derive, scoped_seed
from pyrogen.steps.locate import RATE, Fault, locate
from pyrogen.training import checkpoint
from pyrogen.training.device import autocast
from pyrogen.training.distributed.agreement import said_first

_INVALID = re.compile(r"invalid values|within the support|\bnan\b|\binf\b|positive[- ]definite|singular", re.IGNORECASE)
_SHOWN = 5


@dataclass(frozen=True)
class Failures:
    """Explains errors of the steps that ``fit`` takes; the arguments are those of ``fit``."""

    step: Any
    rows: Any
    batch_size: int
    seed: int
    device: torch.device | str | None
    precision: str

    def explain(self, error: Exception, t: int, batch: Batch) -> None:
        """Raise an error of step ``t`` with its cause, if that is found.

        Raises:
            Diverged: naming the step, the rows of the batch, the site or term of the loss, and what may help.
            OutOfMemory: naming the size of the batch and what may help.
            ConfigError: naming the dtypes of data and weights, if they differ and caused it.
        """
        if isinstance(error, Diverged):
            raise self.located(error, t, batch) from error
        if isinstance(error, UserError) or not isinstance(error, MemoryError | RuntimeError | ValueError):
            return
        if is_out_of_memory(error):
            raise OutOfMemory(self.out_of_memory(error, f"step {t}", batch)) from error
        if isinstance(error, RuntimeError):
            check_dtypes(error, self.step, batch)
        if _INVALID.search(str(error)) is None:
            return
        fault = self._locate(t, batch)  # Pyro's validation, or a decomposition, was faster
        if fault is not None:
            raise self._diverged(fault, t, batch) from error

    @contextmanager
    def ended(self, folder: Path, options: Mapping[str, Any], latest: list[int]) -> Iterator[None]:
        """Add to the errors of a run, whose loop is inside, the options of the command line and the last checkpoint.

        Args:
            folder: of the run.
            options: of its recipe.
            latest: holds the number of the latest step.
        """
        try:
            yield
        except Diverged as error:
            found = self.located(error, latest[0])
            rate = "a smaller --lr" if "lr" in options else "other options"
            raise Diverged(found.what, found.advice.replace(RATE, rate) + _last_checkpoint(folder)) from error
        except OutOfMemory as error:
            raise OutOfMemory(f"{error}{_last_checkpoint(folder)}") from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            said = self.out_of_memory(error, f"after step {latest[0]}")
            raise OutOfMemory(said + _last_checkpoint(folder)) from error

    def located(self, error: Diverged, t: int, batch: Batch | None = None) -> Diverged:
        """The error with its cause, which is looked for by repeating the step.

        Args:
            error: as raised in step ``t``.
            t: the number of the latest step.
            batch: of that step; by default it is drawn again.
        """
        if error.advice:
            return error
        t -= error.ago
        if error.ago or batch is None:
            source = batches(self.rows, self.batch_size, self.seed, t - 1, self.device, 0, ranks.part)
            batch = select_arguments(self.step, next(source))
        fault = self._locate(t, batch)
        here = None if fault is None else self._diverged(fault, t, batch)
        found = said_first(None if here is None else f"{here.what}\0{here.advice}")
        if found is None:
            what = error.what.partition(": ")[2]
            return Diverged(f"step {t}: {what}", "it is finite when the step is repeated eagerly: try compile=False")
        what, _, advice = found.partition("\0")
        return Diverged(what, advice)

    def out_of_memory(self, error: BaseException, where: str, batch: Batch = ()) -> str:
        """One sentence on what was asked for, the most that was in use, and what may help."""
        first = next((part for part in iterate_tensors(batch) if part.ndim), None)
        size = self.batch_size if first is None else len(first)
        wanted = re.search(r"tried to allocate ([\d.]+ ?\w*)", str(error), re.IGNORECASE)
        more = f", {_readable(wanted[1])} more were asked for" if wanted else ""
        advice = ["a smaller batch size"]
        loss = getattr(self.step, "loss", None)
        if max(getattr(loss, "particles", 1), getattr(loss, "num_particles", 1)) > 1:
            advice.append("fewer particles")
        if self.precision == "32":
            advice.append("precision bf16")
        return (
            f"{where}: out of memory with batches of {size} rows ({peak_memory()} in use at most{more}): "
            f"try {', or '.join(advice)}"
        )

    def _locate(self, t: int, batch: Batch) -> Fault | None:
        if not hasattr(self.step, "loss_terms"):
            return None
        with scoped_seed(self.seed_of(t)), autocast(self.precision, device_of(batch)):
            return locate(self.step, batch)

    def _diverged(self, fault: Fault, t: int, batch: Batch) -> Diverged:
        size = next((len(part) for part in iterate_tensors(batch) if part.ndim), 0)
        where = _rows_text(fault.rows, size, self._index(t))
        return Diverged(f"step {t}: {fault.term}{where}{', where ' + fault.cause if fault.cause else ''}", fault.advice)

    def _index(self, t: int) -> Tensor | None:
        """The rows of the training data that the batch of step ``t`` consists of; ``None`` if they are not known."""
        if not isinstance(self.rows, Split):
            return None
        return batch_rows(self.rows, self.batch_size, self.seed, t)[ranks.part(self.batch_size)]

    def seed_of(self, t: int) -> int:
        """The seed of what step ``t`` draws: that of the process, but in the first step, which makes parameters."""
        return derive(self.seed, "step", t, *(ranks.stream() if t > 1 else ()))


def _last_checkpoint(folder: Path) -> str:
    """A clause that names the step of the newest checkpoint, which is from before the failure; empty without one."""
    try:
        name = checkpoint.newest(folder).name
    except (RunError, MemoryError):  # what there is for it may not suffice either
        return ""
    return f"; the checkpoint of step {int(name.split('-')[1])} is from before"


def peak_memory() -> str:
    """The most memory that was in use: of the GPU by torch if there is one in use, else of the process."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return _readable(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return _readable(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _readable(size: float | str) -> str:
    """A size in MiB or GiB; torch's own text, ``2.00 GiB``, is kept."""
    if isinstance(size, str) and not size.strip().isdigit():
        return size.removesuffix(" bytes") if not size.endswith(" bytes") else _readable(size.removesuffix(" bytes"))
    mebibytes = float(size) / 2**20
    return f"{mebibytes:,.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:,.1f} GiB"


def _rows_text(rows: list[int] | None, size: int, index: Tensor | None) -> str:
    """A clause that names the rows, those of the batch and of the training data, counted from 0."""
    if not rows:
        return ""
    if len(rows) == size:
        return f" in all {size} rows of the batch"
    plural = "s" * (len(rows) > 1)
    text = f" in row{plural} {_list(rows)} of the batch"
    if index is not None:
        which = "index" if len(rows) == 1 else "indices"
        text += f" ({which} {_list([int(index[i]) for i in rows])} in the training data)"
    return text


def _list(numbers: list[int]) -> str:
    more = len(numbers) - _SHOWN
    return ", ".join(map(str, numbers[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
