"""Checks of a whole family: training, checkpoints and evaluation, in either precision."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from math import isfinite
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.step_arguments import select_arguments
from pyrogen.measure.evaluate import evaluate
from pyrogen.protocols import Density, Pair, Sampler, Step
from pyrogen.random import scoped_seed
from pyrogen.recipes.setup import TrainingSetup
from pyrogen.testing.assertions import (
    BATCH_ROWS,
    bit_equal,
    differing_names,
    errors_as_assertions,
    expect,
    expect_scalars,
    expect_unchanged,
    first_batch,
    first_rows,
    flatten_state,
    offers,
    state_copy,
)
from pyrogen.testing.models import CAPABILITIES, check_pair, draw_samples
from pyrogen.training import checkpoint
from pyrogen.training.loop import fit

Make = Callable[[Dataset], Any]
"""Creates a new family for a data set: ``(model, step)``, a step, or a ``TrainingSetup``."""
STEPS, INTERRUPT_AT = 4, 2
"""The last step of a check's run, and the step after which it is interrupted."""


def check_family(make: Make, data: Dataset, precision: str = "32") -> None:
    """Run every applicable check: the family trains, saves, loads and evaluates, and its model's methods are correct.

    Args:
        make: creates the family.
        data: a data set with at least 16 rows in each split.
        precision: ``32``, or ``bf16`` to train in mixed precision.

    Raises:
        AssertionError: for the first check that fails.
    """
    model, step, seen = check_trains(make, data, precision)
    able = [check for protocol, check in CAPABILITIES.items() if offers(model, protocol)]
    expect(
        bool(able),
        f"a {type(model).__name__} has neither sample nor reconstruct; expected one of them "
        "(a bare Pyro pair is sampled through its step: return the step alone)",
    )
    for check in able:
        check(model, seen)
    if model is not step and isinstance(model, Density) and isinstance(step, Pair):
        check_pair(step, seen, model)
    check_evaluates(model, seen)
    check_saves(make, data, precision)


def check_trains(make: Make, data: Dataset, precision: str = "32") -> tuple[Any, Step, Dataset]:
    """Check that each step returns finite scalars, training changes some weights, and ``evaluate`` changes nothing.

    Returns:
        The trained model, its step, and the data that the family uses.
    """
    family = _make_family(make, data)
    weights = [family.weights()]
    for t, logs in family.fit(0, STEPS, precision):
        expect_scalars(f"step {t}", logs)
        weights.append(family.weights())
    moved = any(name in a and not bit_equal(a[name], w) for a, b in pairwise(weights) for name, w in b.items())
    expect(moved, f"{STEPS} steps moved none of {len(weights[-1])} weights; expected training to move some")
    with expect_unchanged("evaluate(*batch)", family.model, family.step), scoped_seed(0):
        expect_scalars(
            "evaluate(*batch)", family.step.evaluate(*select_arguments(family.step, first_batch(family.data)))
        )
    return family


def check_saves(make: Make, data: Dataset, precision: str = "32") -> None:
    """Check that a run is reproducible, and that a checkpoint continues bit-identically in a new family."""
    uninterrupted, interrupted, other = (_make_family(make, data, seed) for seed in (0, 0, 1))
    expected, start = uninterrupted.run(0, STEPS, precision), interrupted.run(0, INTERRUPT_AT, precision)
    names = differing_names(expected[INTERRUPT_AT], start[INTERRUPT_AT])
    expect(not names, f"two runs under one seed differ in {names[:1]}; expected all draws to be torch's")
    with TemporaryDirectory() as folder, errors_as_assertions("state_dict cannot be saved and loaded: "):
        checkpoint.save(folder, t=INTERRUPT_AT, **interrupted.parts())
        checkpoint.restore(folder, **other.parts())
    for t, state in other.run(INTERRUPT_AT, STEPS, precision).items():
        names = differing_names(expected[t], state)
        expect(
            not names,
            f"a run loaded after step {INTERRUPT_AT} differs in {names[:1]} at step {t}; "
            "expected state_dict to hold all that was drawn or learned",
        )
    if isinstance(uninterrupted.model, Sampler):
        same = torch.equal(*(draw_samples(f.model, f.data) for f in (uninterrupted, other)))
        expect(same, "a loaded model draws other samples; expected state_dict to hold all that it is made of")


def check_evaluates(model: Any, data: Dataset | Split) -> None:
    """Check that ``pyrogen.evaluate`` returns at least one score, only finite ones, and changes nothing."""
    with expect_unchanged("evaluate(model, data)", model), errors_as_assertions():
        scores = evaluate(model, first_rows(data), k=BATCH_ROWS)
    expect(bool(scores), f"evaluate returned no score for a {type(model).__name__}; expected at least one")
    for name, score in scores.items():
        expect(isfinite(score.value), f"the score {name!r} is {score.value}; expected it finite")


class _Family(NamedTuple):
    """A model, its step, and the data that they use."""

    model: Any
    step: Step
    data: Dataset

    def parts(self) -> dict[str, Any]:
        """The parts of a checkpoint: the step, and the model if it has a state of its own."""
        own = self.model is not self.step and hasattr(self.model, "state_dict")
        return {"step": self.step} | ({"model": self.model} if own else {})

    def weights(self) -> dict[str, Any]:
        """Copies of the model's tensors, or of the weights in its step's state."""
        state = self.parts().get("model", self.step).state_dict()
        return dict(flatten_state(state.get("weights", state)))

    def fit(self, start: int, steps: int, precision: str) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
        """Train from step ``start`` on."""
        return fit(self.step, self.data.train, steps=steps, batch_size=BATCH_ROWS, start=start, precision=precision)

    def run(self, start: int, steps: int, precision: str) -> dict[int, dict[str, Any]]:
        """Return the logs and the state after each step."""
        return {
            t: dict(flatten_state(logs)) | state_copy(*self.parts().values())
            for t, logs in self.fit(start, steps, precision)
        }


def _make_family(make: Make, data: Dataset, seed: int = 0) -> _Family:
    with scoped_seed(seed):
        made = make(data)
    if isinstance(made, TrainingSetup):
        return _Family(made.model, made.step, made.data)
    model, step = made if isinstance(made, tuple) else (made, made)
    return _Family(model, step, data)
