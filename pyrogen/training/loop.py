"""The loop is a generator: logging, evaluation and checkpoints are statements in the body of a ``for``.

```python
for t, logs in fit(step, data.train, steps=10_000, batch_size=256, seed=0):
    if t % 1000 == 0:
        save(run, model=vae, step=step, t=t)
```
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyrogen import ranks
from pyrogen.compile.noise import CompiledNoise
from pyrogen.compile.verified import should_compile
from pyrogen.data.batches import as_training_data, batches
from pyrogen.data.checks import check_batch_size
from pyrogen.data.dataset import Split
from pyrogen.data.loading import Rows
from pyrogen.data.noise import StreamedNoise
from pyrogen.data.step_arguments import Batch, device_of, select_arguments
from pyrogen.data.together import most_together
from pyrogen.errors import ConfigError, DataError
from pyrogen.random import reseed_global, scoped_seed
from pyrogen.steps.guard import read_guard
from pyrogen.steps.in_graph.exclusive import exclusive
from pyrogen.training.device import autocast
from pyrogen.training.distributed import SharedSteps
from pyrogen.training.failures import Failures
from pyrogen.training.memory import retain_heap
from pyrogen.training.monitoring.display import watched
from pyrogen.training.seen import known_rows, note_rows


def fit(
    step: Callable[..., Mapping[str, Tensor]],
    data: Rows,
    *,
    steps: int,
    batch_size: int = 256,
    seed: int = 0,
    start: int = 0,
    device: torch.device | str | None = None,
    precision: str = "32",
    workers: int | None = None,
    weights: Tensor | None = None,
    progress: bool = False,
    every: int | Callable[[int], bool] = 1,
    each: Callable[[int, Mapping[str, Tensor]], object] | None = None,
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """Call ``step`` on one shuffled batch after another; yield ``(t, logs)`` after each, or after every so many.

    Step ``t`` depends on the weights, ``seed`` and ``t`` alone: its batch and its random draws come from
    streams of that name. What the body of the loop draws changes nothing, and a run continued with ``start`` is
    bit-identical, on one machine, to an uninterrupted run. The global random state is as the body left it. The rows
    are noted for the step and its networks: ``evaluate`` refuses to report their score on test rows among them.

    Args:
        step: ``step(*batch) -> {name: scalar}``. If it has an attribute ``takes``, as ``SVI`` has, it receives no more
            positional arguments than that says: a program of ``x`` alone receives no labels.
        data: ``data.train``; tensors or arrays ``x`` or ``(x, y, …)``; a path or a data frame, of which
            ``load(data).train`` is taken; or a torch ``Dataset`` or ``DataLoader``: what a loader gives as a tuple or
            list is passed as positional arguments, and anything else, as a dict, as the only one.
        steps, start: the numbers of the last step, and of the steps that are done; the first ``t`` is ``start + 1``.
        batch_size, seed: the rows of a batch, and the seed of the run.
        device, precision: of the batches, by default that of the data; of networks and products, see ``autocast``.
        workers: processes that prefetch rows from disk, as for ``batches``.
        weights: how often each row is drawn, in proportion, ``(n,)``, such as ``pyrogen.use.debiasing_weights``; every
            row once an epoch by default. A torch ``Dataset`` or ``DataLoader`` has a sampler for that.
        progress: whether progress is shown, in one line.
        every: the body of the loop runs after multiples of this number, or where ``every(t)`` is true, and at the end;
            other steps are faster, and the same bit for bit, see ``steps.exclusive``. With a function, batches may be
            read ahead: the body must not change the data.
        each: ``each(t, logs)`` is called after each step; it must not change what the step reads.

    Yields:
        ``t`` from ``start + 1`` to ``steps``, and the scalars of that step, detached and still on the device.

    Raises:
        DataError: before the first step, if the data cannot be batched or the weights are not those of their rows.
        ConfigError: if ``every`` is less than 1; at the first step, if its weights have another dtype than the data.
        Diverged: if the loss or a gradient is not finite, in place of the update; on a GPU up to ``READ_EVERY`` updates
            later, none of which has changed anything. The message names step, rows, site or term, and a remedy.
        OutOfMemory: if a step needs more memory than there is.
    """
    retain_heap()
    rows = _weighted(as_training_data(data), weights)
    k = _together(rows, batch_size, every)
    read, noise = _compilable(rows)
    part = ranks.part if ranks.world() > 1 else None
    failures = Failures(step, rows, batch_size, seed, device, precision)
    prepared = _prepare(failures, batches(read, batch_size, seed, start, device, workers, part, k), start, k)
    loop = _steps(failures, prepared, noise, known_rows(rows), steps, start, every, each)
    return watched(loop, type(step).__name__, start, steps) if progress else loop


def _weighted(rows: Any, weights: Tensor | None) -> Any:
    """The rows with the weights by which they are drawn."""
    if weights is None:
        return rows
    if not isinstance(rows, Split):
        raise DataError(f"weights are for rows of pyrogen's own batches: give a {type(rows).__name__} a sampler")
    return replace(rows, weights=weights)


def _together(rows: Any, batch_size: int, every: int | Callable[[int], bool]) -> int:
    """The number of batches that are read in one call, none of them before the body of the loop has run."""
    if isinstance(every, int) and every < 1:
        raise ConfigError(f"every must be a number of steps, at least 1; got {every}")
    if not isinstance(rows, Split):
        return 1
    check_batch_size(len(rows), batch_size)
    most = most_together(rows, len(range(batch_size)[ranks.part(batch_size)]))
    return most if callable(every) else max(k for k in range(1, most + 1) if every % k == 0)


def _compilable(rows: Any) -> tuple[Any, CompiledNoise | None]:
    """The rows with a noise that can be compiled, and that noise; the rows alone if they have none."""
    if not isinstance(rows, Split) or not isinstance(rows.noise, StreamedNoise):
        return rows, None
    noise = CompiledNoise(rows.noise, enabled=False)
    return replace(rows, noise=noise), noise


def _prepare(
    failures: Failures, source: Iterator[Batch], start: int, k: int
) -> Iterator[tuple[int, Batch, torch.device]]:
    """The seed of each step, its batch and the device of that, of as many steps in one go as batches are read."""
    t = start
    while True:
        n = k - t % k
        found = [select_arguments(failures.step, next(source)) for _ in range(n)]
        device = device_of(found[0])
        yield from [(failures.seed_of(t + i), batch, device) for i, batch in enumerate(found, 1)]
        t += n


def _steps(
    failures: Failures,
    prepared: Iterator[tuple[int, Batch, torch.device]],
    noise: CompiledNoise | None,
    rows: Split | None,
    steps: int,
    start: int,
    every: int | Callable[[int], bool],
    each: Callable[[int, Mapping[str, Tensor]], object] | None,
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    step, rows_known = failures.step, isinstance(failures.rows, Split)
    size = failures.batch_size if rows_known else None
    shared = SharedSteps(step, start + 1, steps, size) if ranks.world() > 1 else None
    # A Split draws by generators of its own, so the global ones are saved once for all steps between two bodies.
    together = rows_known and every != 1

    def take(t: int) -> Mapping[str, Tensor]:
        seed, batch, device = next(prepared)
        try:
            if together:
                reseed_global(seed)
            with nullcontext() if together else scoped_seed(seed), autocast(failures.precision, device):
                logs = step(*batch) if shared is None else shared(t, batch)
            if t == steps:
                read_guard(step)
        except Exception as error:
            failures.explain(error, t, batch)
            raise
        if noise is not None and not noise.enabled:  # it is compiled where the step is
            compile = should_compile(getattr(step, "compile", False), t - start)
            noise.enabled = compile and not getattr(step, "refused", None)
        if t == start + 1 and rows is not None:  # the first step has made what networks there are
            note_rows(step, rows)
        if each is not None:
            each(t, logs)
        return logs

    t = start
    while t < steps:
        with scoped_seed(0) if together else nullcontext(), exclusive(step) if together else nullcontext():
            while True:
                t += 1
                logs = take(t)
                if t == steps or (every(t) if callable(every) else t % every == 0):
                    break
        yield t, logs


class EarlyStopping:
    """Early stopping by a validation score: one line in the loop.

    ```python
    if stop.after(float(step.evaluate(*valid)["loss"])):
        break
    ```

    Args:
        patience: how many scores in a row may fail to improve on the best.
    """

    def __init__(self, patience: int) -> None:
        self.patience, self.best, self.since = patience, float("inf"), 0

    def after(self, score: float) -> bool:
        """Whether to stop, given the newest score (lower is better)."""
        self.since = 0 if score < self.best else self.since + 1
        self.best = min(self.best, score)
        return self.stopped

    @property
    def stopped(self) -> bool:
        """Whether the scores so far said to stop: a loop that had ended with ``break`` is not continued."""
        return self.since >= self.patience

    def state_dict(self) -> dict[str, float | int]:
        """The best score and how long ago it was."""
        return {"best": self.best, "since": self.since}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        """Take back ``state_dict``."""
        self.best, self.since = state["best"], int(state["since"])
