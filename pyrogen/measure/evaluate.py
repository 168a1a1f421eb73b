"""Measure one model by all that its capabilities allow."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.step_arguments import types_named
from pyrogen.errors import ConfigError
from pyrogen.measure.c2st import c2st
from pyrogen.measure.coverage import mode_scores
from pyrogen.measure.kde import kde_score
from pyrogen.measure.likelihood import density_scores, mean_score, pair_scores
from pyrogen.measure.mmd import mmd2
from pyrogen.measure.neighbours import nearest_neighbour
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.nn.conditions import Label
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Reconstructing, Sampler, Score
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import derive, scoped_seed

SAMPLES = 1000
"""How many samples are set against as many test data."""
FEWEST = 20
"""With fewer test data a two-sample test says nothing, and is left out."""
KDE_SAMPLES = 10_000
"""How many samples a kernel-density estimate is made of."""


def evaluate(model: Any, data: Dataset | Split, *, k: int = 100, seed: int = 0) -> dict[str, Score]:
    """Everything that can be measured of ``model`` on ``data``; the model is not changed.

    A density gives its exact log-likelihood; a Pyro pair its own, exact where nothing is latent, else the
    ELBO and the importance-weighted bound; whatever else samples, a kernel-density estimate; an autoencoder
    its ``reconstruction``. With a whole ``Dataset`` the samples are also compared with the test data.

    Args:
        model: anything of ``pyrogen.protocols``, or an ``SVI`` step, which stands for its trained pair.
        data: a ``Dataset``, judged on its test split, or one split, for the likelihood alone.
        k: importance samples for each datum.
        seed: of every random draw.

    Raises:
        ConfigError: if the model can neither give a likelihood nor sample nor reconstruct, or gives a mass where the
            data set's measure is one of densities (or the reverse).
    """
    test = (data.test if isinstance(data, Dataset) else data).tensors(seed)
    with torch.no_grad(), eval_mode(model), types_named(model, test):
        scores = likelihood_scores(model, data, k=k, seed=seed)
        if isinstance(model, Reconstructing):
            scores["reconstruction"] = reconstruction_score(drop_extra_args(model.reconstruct), *test[:2])
        if isinstance(data, Dataset) and isinstance(model, Sampler):
            scores |= sample_scores(draw(model, data, SAMPLES, seed), data, seed)
        return scores


def likelihood_scores(model: Any, data: Dataset | Split, *, k: int = 100, seed: int = 0) -> dict[str, Score]:
    """``log_likelihood`` with its kind, the bounds or estimates behind it, and ``bits_per_dim`` of 8-bit data."""
    space = data.space
    test = (data.test if isinstance(data, Dataset) else data).tensors(seed)
    x, *rest = test
    if callable(getattr(model, "log_prob", None)):
        declared = getattr(model, "probability", None)
        if space is not None and declared is not None and declared != space.probability:
            raise ConfigError(f"the model has a {declared}, but the data set's space is a {space}")
        # Labels are summed out, so that the value is log p(x), as an unconditional model's is.
        given = () if isinstance(getattr(model, "condition", None), Label) else rest
        scores, values = density_scores(drop_extra_args(model.log_prob), x, *given)
    elif callable(getattr(model, "model", None)) and callable(getattr(model, "guide", None)):
        scores, values = pair_scores(model, x, *rest, space=space, k=k, seed=seed)
    elif isinstance(model, Sampler):
        if space is not None and space.probability == "mass":
            return {}  # a kernel estimate is a density: on this data nothing here compares with a mass
        valid = data.valid.tensors(seed)[0] if isinstance(data, Dataset) else x[: len(x) // 2]
        with scoped_seed(derive(seed, "kde")):
            samples = in_chunks(model, KDE_SAMPLES, shape=x.shape[1:])
        estimate = kde_score(x if isinstance(data, Dataset) else x[len(x) // 2 :], samples, valid)
        return {"log_likelihood": estimate, "kde": estimate}
    elif isinstance(model, Reconstructing):
        return {}
    else:
        raise ConfigError(
            f"cannot measure a {type(model).__name__}: it has none of log_prob, model and guide, sample, or reconstruct"
        )
    whole = (data if isinstance(data, Split) else data.test).side is None  # else the likelihood is of a part of x
    if space is not None and space.levels and whole:
        best = scores["log_likelihood"]
        kind = "estimate" if best.kind == "estimate" else "upper_bound"
        note = {name: best.detail[name] for name in ("note",) if name in best.detail}
        scores["bits_per_dim"] = mean_score(space.bits_per_dim(values, x), kind, "bits/dim", **note)
    return scores


def sample_scores(samples: Tensor, data: Dataset, seed: int = 0) -> dict[str, Score]:
    """Samples against as many test data, as the pictures (or the vectors) that they stand for.

    Args:
        samples: ``(n, *shape)`` in the space of the data; not finite ones are an error.
        data: the data set.
        seed: of the tests.

    Raises:
        ConfigError: if a sample is not finite.
    """
    broken = int((~samples.isfinite()).flatten(1).any(1).sum())
    if broken:
        raise ConfigError(f"{broken} of {len(samples)} samples are not finite")
    see = data.space.to_image
    test = see(data.test.tensors(seed)[0][: len(samples)])
    train = see(data.train.tensors(seed)[0])
    seen = see(samples)
    n = min(len(seen), len(test))
    scores = {"nearest_neighbour": nearest_neighbour(seen, train, test)}
    if n >= FEWEST:
        scores = {"mmd2": mmd2(seen[:n], test[:n], seed=seed), "c2st": c2st(seen[:n], test[:n], seed=seed)} | scores
    truth: Any = data.truth
    if truth is not None and truth.modes is not None:
        scores |= mode_scores(samples, truth.modes, truth.std)
    return scores


def draw(model: Sampler, data: Dataset, n: int, seed: int) -> Tensor:
    """``n`` samples under a seed; where y is side information of the data, that of test rows."""
    with scoped_seed(derive(seed, "samples")):
        if data.test.side is None:
            return in_chunks(model, n, shape=data.shape)
        _, y, *_ = data.test.tensors(seed)
        return in_chunks(model, min(n, len(y)), y, shape=data.shape)


def in_chunks(
    model: Sampler, n: int, y: Tensor | None = None, rows: int = 1000, shape: Sequence[int] | None = None
) -> Tensor:
    """``model.sample`` in chunks that bound the memory.

    Args:
        model: what draws.
        n: how many data.
        y: side information with ``n`` rows, or ``None``.
        rows: the most in one call.
        shape: of one datum; any, if ``None``.

    Raises:
        ConfigError: if ``sample`` gives another number of rows, or data of another shape.
    """
    parts = []
    for start in range(0, n, rows):
        count = min(rows, n - start)
        part = drop_extra_args(model.sample)(count, None if y is None else y[start : start + count])
        given = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
        expected = (count, *(shape if shape is not None else given[1:])) if isinstance(given, tuple) else (count,)
        if given != expected:
            raise ConfigError(f"sample({count}) of a {type(model).__name__} gave {given}: expected shape {expected}")
        parts.append(part)
    return torch.cat(parts)


def anchor_scores(data: Dataset, seed: int = 0) -> dict[str, Score]:
    """Training data in place of samples: the best value that a model which does not copy could reach."""
    x, *_ = data.train.tensors(seed)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive(seed, "anchor")))
    chosen = order[: min(SAMPLES, len(x))].to(x.device)
    scores = sample_scores(x[chosen], data, seed)
    test = data.space.to_image(data.test.tensors(seed)[0])
    scores["nearest_neighbour"] = nearest_neighbour(test, data.space.to_image(x), test)
    return scores
