"""Samples of a model, and their comparison with data."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.measure.c2st import c2st
from pyrogen.measure.coverage import mode_scores
from pyrogen.measure.features import FeatureSpace, Reference, space_scores
from pyrogen.measure.mmd import mmd2
from pyrogen.measure.verdict.neighbours import nearest_neighbour
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Sampler, Score
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import derive, random_rows, scoped_seed

N_SAMPLES = 1000
"""The number of samples that are compared with as many test data."""
MIN_TEST_ROWS = 20
"""The fewest test data for two-sample tests; with fewer they have no power and are left out."""


def sample_scores(
    samples: Tensor, data: Dataset, seed: int = 0, spaces: Sequence[FeatureSpace | Reference] = ()
) -> dict[str, Score]:
    """Compare samples with at most as many random test data, as images in [0, 1] or as standardised vectors.

    Args:
        samples: ``(n, *shape)`` in model coordinates.
        data: the data set.
        seed: the seed of the tests.
        spaces: feature spaces in which ``feature_scores`` are computed as well.

    Returns:
        ``nearest_neighbour``, two-sample tests, scores in feature spaces, and mode coverage if the modes are known.

    Raises:
        ConfigError: if a sample is not finite.
    """
    bad = int((~samples.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise ConfigError(f"{bad} of {len(samples)} samples are not finite")
    to_comparable = data.space.to_comparable
    test = to_comparable(random_rows(data.test.tensors(seed)[0], len(samples), seed, "test"))
    train = to_comparable(data.train.tensors(seed)[0])
    images = to_comparable(samples)
    scores = {"nearest_neighbour": nearest_neighbour(images, train, test)}
    if min(len(images), len(test)) >= MIN_TEST_ROWS:
        scores = {"mmd2": mmd2(images, test, seed=seed), "c2st": c2st(images, test, seed=seed)} | scores
        scores |= space_scores(samples, data, spaces, seed)
    truth: Any = data.truth
    if truth is not None and truth.modes is not None:
        scores |= mode_scores(data.space.to_user(samples), truth.modes, truth.std)
    return scores


def draw_samples(model: Sampler, data: Dataset, n: int, seed: int, y: Tensor | None = None) -> Tensor:
    """Draw ``n`` samples under a seed.

    Args:
        model: the sampler.
        data: the data set; its test rows, repeated as often as needed, give side information where y is none.
        n: the number of samples.
        seed: the seed of the draws.
        y: side information with ``n`` rows.
    """
    with scoped_seed(derive(seed, "samples")), torch.no_grad(), eval_mode(model):
        return in_chunks(model, n, data.side_information(n, seed) if y is None else y, shape=data.shape)


def in_chunks(
    model: Sampler, n: int, y: Tensor | None = None, rows: int = 1000, shape: Sequence[int] | None = None
) -> Tensor:
    """Call ``model.sample`` in chunks, to bound the memory.

    Args:
        model: the sampler.
        n: the number of samples.
        y: side information with ``n`` rows, or ``None``.
        rows: the most samples per call.
        shape: the expected shape of a sample; not checked if ``None``.

    Raises:
        ConfigError: if ``sample`` returns another number of rows, or another shape.
    """
    parts = []
    for start in range(0, n, rows):
        count = min(rows, n - start)
        part = drop_extra_args(model.sample)(count, None if y is None else y[start : start + count])
        given = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
        expected = (count, *(shape if shape is not None else given[1:])) if isinstance(given, tuple) else (count,)
        if given != expected:
            raise ConfigError(f"sample({count}) of a {type(model).__name__}: expected shape {expected}, got {given}")
        parts.append(part)
    return torch.cat(parts)


def reference_scores(data: Dataset, seed: int = 0, spaces: Sequence[FeatureSpace | Reference] = ()) -> dict[str, Score]:
    """Score training data in place of samples: the best scores that a model can reach without copying.

    What compares samples with the training data, ``nearest_neighbour`` and the scores in feature spaces, is that of
    test data. ``fld`` is left out: its value for real data is 0 by definition.
    """
    x, *_ = data.train.tensors(seed)
    scores = sample_scores(random_rows(x, N_SAMPLES, seed, "anchor"), data, seed)
    held_out = data.test.tensors(seed)[0]
    test = data.space.to_comparable(held_out)
    scores["nearest_neighbour"] = nearest_neighbour(test, data.space.to_comparable(x), test)
    if len(test) >= MIN_TEST_ROWS:
        rows = random_rows(held_out, N_SAMPLES, seed, "features")
        of_test = space_scores(rows, data, spaces, seed)
        scores |= {name: score for name, score in of_test.items() if name.split("@")[0] != "fld"}
    return scores
