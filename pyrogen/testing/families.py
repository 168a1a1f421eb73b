"""A family as a whole: it trains, saves, loads and evaluates, in either precision."""

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
    ROWS,
    as_assertion,
    differing,
    equal,
    expect,
    expect_scalars,
    first_batch,
    first_rows,
    leaves,
    offers,
    state_copy,
    unchanged,
)
from pyrogen.testing.models import CAPABILITIES, check_pair, draw
from pyrogen.training import checkpoint
from pyrogen.training.loop import fit

Make = Callable[[Dataset], Any]
"""Makes a family for a data set, anew at each call: ``(model, step)``, a step, or a ``TrainingSetup``."""
STEPS, HALF = 4, 2
"""The last step of a check's run, and the one after which it is interrupted."""


def check_family(make: Make, data: Dataset, precision: str = "32") -> None:
    """All that applies: the family trains, saves, loads, evaluates, and its model keeps what its methods promise.

    Args:
        make: makes the family.
        data: what it is made for; at least 16 rows in each split.
        precision: ``32``, or ``bf16`` to train in mixed precision.

    Raises:
        AssertionError: for the first promise that is not kept.
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
    """Each step tells finite scalars, some weights move, and the step's ``evaluate`` moves nothing.

    Returns:
        The trained model, its step, and the data as they see them.
    """
    family = _made(make, data)
    weights = [family.weights()]
    for t, logs in family.fit(0, STEPS, precision):
        expect_scalars(f"step {t}", logs)
        weights.append(family.weights())
    moved = any(name in a and not equal(a[name], w) for a, b in pairwise(weights) for name, w in b.items())
    expect(moved, f"{STEPS} steps moved none of {len(weights[-1])} weights; expected training to move some")
    with unchanged("evaluate(*batch)", family.model, family.step), scoped_seed(0):
        expect_scalars(
            "evaluate(*batch)", family.step.evaluate(*select_arguments(family.step, first_batch(family.data)))
        )
    return family


def check_saves(make: Make, data: Dataset, precision: str = "32") -> None:
    """A seed repeats its run, and a checkpoint goes on with it bit for bit in a family that was made otherwise."""
    whole, half, other = (_made(make, data, seed) for seed in (0, 0, 1))
    expected, start = whole.run(0, STEPS, precision), half.run(0, HALF, precision)
    names = differing(expected[HALF], start[HALF])
    expect(not names, f"two runs under one seed differ in {names[:1]}; expected all draws to be torch's")
    with TemporaryDirectory() as folder, as_assertion("state_dict cannot be saved and loaded: "):
        checkpoint.save(folder, t=HALF, **half.parts())
        checkpoint.restore(folder, **other.parts())
    for t, state in other.run(HALF, STEPS, precision).items():
        names = differing(expected[t], state)
        expect(
            not names,
            f"a run loaded after step {HALF} differs in {names[:1]} at step {t}; "
            "expected state_dict to hold all that was drawn or learned",
        )
    if isinstance(whole.model, Sampler):
        same = torch.equal(*(draw(f.model, f.data) for f in (whole, other)))
        expect(same, "a loaded model draws other samples; expected state_dict to hold all that it is made of")


def check_evaluates(model: Any, data: Dataset | Split) -> None:
    """``pyrogen.evaluate`` finds something to measure, gives finite scores, and changes nothing."""
    with unchanged("evaluate(model, data)", model), as_assertion():
        scores = evaluate(model, first_rows(data), k=ROWS)
    expect(bool(scores), f"nothing was measured of a {type(model).__name__}; expected a score")
    for name, score in scores.items():
        expect(isfinite(score.value), f"the score {name!r} is {score.value}; expected it finite")


class _Family(NamedTuple):
    """What was made, and the data as it sees them."""

    model: Any
    step: Step
    data: Dataset

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds: the step, and the model where it has a state of its own."""
        own = self.model is not self.step and hasattr(self.model, "state_dict")
        return {"step": self.step} | ({"model": self.model} if own else {})

    def weights(self) -> dict[str, Any]:
        """Copies of the model's tensors, or of those that its step calls weights."""
        state = self.parts().get("model", self.step).state_dict()
        return dict(leaves(state.get("weights", state)))

    def fit(self, start: int, steps: int, precision: str) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
        """The loop from step ``start`` on."""
        return fit(self.step, self.data.train, steps=steps, batch_size=ROWS, start=start, precision=precision)

    def run(self, start: int, steps: int, precision: str) -> dict[int, dict[str, Any]]:
        """What each step told and left behind."""
        return {
            t: dict(leaves(logs)) | state_copy(*self.parts().values()) for t, logs in self.fit(start, steps, precision)
        }


def _made(make: Make, data: Dataset, seed: int = 0) -> _Family:
    with scoped_seed(seed):
        made = make(data)
    if isinstance(made, TrainingSetup):
        return _Family(made.model, made.step, made.data)
    model, step = made if isinstance(made, tuple) else (made, made)
    return _Family(model, step, data)
