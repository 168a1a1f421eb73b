"""Evaluate a model, or that of a run folder, by every measure that its methods support."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets, unbounded_reason
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.loading import Source, as_data
from pyrogen.data.sources.dispatch import title
from pyrogen.data.space import Space
from pyrogen.data.step_arguments import explain_dtype_errors
from pyrogen.errors import ConfigError, DataError
from pyrogen.measure.annealing.score import Annealing
from pyrogen.measure.annealing.smoothed import annealed_scores, check_annealed, common_noise
from pyrogen.measure.conditional import GIVEN_PART, conditional_target
from pyrogen.measure.features import FeatureSpace, Reference, check_spaces
from pyrogen.measure.held_out import check_held_out, count_seen
from pyrogen.measure.kde import kde_score
from pyrogen.measure.likelihood import density_scores, in_user_units, mean_score, pair_scores, structure_of
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.measure.samples import N_SAMPLES, draw_samples, in_chunks, sample_scores
from pyrogen.nn.conditions import Label
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Reconstructing, Sampler, Score
from pyrogen.pyro_tools.decoders import is_pair
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import derive, random_rows, scoped_seed
from pyrogen.report.cards import Scores
from pyrogen.training.memory import retain_heap
from pyrogen.training.opened import Opened

KDE_SAMPLES = 10_000
"""The number of samples of a kernel-density estimate."""


def evaluate(
    model: Any,
    data: Source,
    *,
    k: int = 100,
    seed: int = 0,
    spaces: Sequence[FeatureSpace | Reference] = (),
    annealing: Annealing | None = None,
) -> dict[str, Score]:
    """Compute every score that ``model`` supports on ``data``; the model is not changed.

    A density has an exact log-likelihood. A Pyro pair has an exact one if it has no latent variables, else the ELBO and
    the importance-weighted bound. Any other sampler has a kernel-density estimate, ``kde``, and an autoencoder a
    ``reconstruction`` error. With a whole ``Dataset``, samples are also compared with the test data.

    A score on a ``Dataset`` is one on held-out data: a model that ``fit`` has trained on its test rows is refused. One
    split, or rows, may be those that the model was trained on; the detail ``seen_in_training`` is then their share.

    Args:
        model: an object with methods of ``pyrogen.protocols``, an ``SVI`` step with its trained pair, or a run that
            ``train`` or ``open`` returned.
        data: a ``Dataset``, evaluated on its test split; a path, a data frame or a pyarrow table, loaded as such by
            ``load``; one split, for the likelihood alone; or rows as they are, a tensor, an array or ``(x, y)``, whose
            likelihood is that of model coordinates.
        k: the number of importance samples per datum.
        seed: the seed of all random draws.
        spaces: feature spaces in which samples are compared with the data of a ``Dataset``, as for ``feature_scores``.
        annealing: settings of annealed importance sampling, the score ``ais`` of models with a decoder, and of
            ``smoothed_log_likelihood``; neither is computed by default.

    Returns:
        The scores by name.

    Raises:
        DataError: if the model was trained on test rows of the data set.
        ConfigError: for a space that the data do not have, or if the model has none of a likelihood, ``sample`` and
            ``reconstruct``, or has a mass function where the data set has densities (or the reverse).
    """
    model = model.model if isinstance(model, Opened) else model
    data, test = measured_data(model, data, seed)
    if isinstance(data, Dataset):
        check_spaces([space for space in spaces if not isinstance(space, Reference)], data)
    with torch.no_grad(), eval_mode(model), explain_dtype_errors(model, test):
        scores = likelihood_scores(model, data, k=k, seed=seed, annealing=annealing)
        if isinstance(model, Reconstructing):
            scores["reconstruction"] = reconstruction_score(drop_extra_args(model.reconstruct), *test[:2])
        if isinstance(data, Dataset) and isinstance(model, Sampler):
            scores |= sample_scores(draw_samples(model, data, N_SAMPLES, seed), data, seed, spaces)
    seen = count_seen(model, data) / len(data) if isinstance(data, Split) else 0
    if seen:
        scores = {name: replace(s, detail={**s.detail, "seen_in_training": seen}) for name, s in scores.items()}
    return Scores(scores)


def measured_data(model: Any, data: Source, seed: int) -> tuple[Dataset | Split, tuple[Tensor, ...]]:
    """A data set or split, and the data and side information on which a model is measured.

    Raises:
        DataError: for another source, or if the model was trained on test rows of a data set.
    """
    data = as_data(data)
    if isinstance(data, Dataset):
        check_held_out(model, data)
        return data, data.test.tensors(seed)
    if not isinstance(data, Split):
        raise DataError(f"expected a data set, a split, a path, a table, tensors or arrays; got a {title(data)}")
    return data, data.tensors(seed)


def evaluate_run(
    opened: Opened,
    data: str | None = None,
    *,
    k: int = 100,
    seed: int = 0,
    spaces: Sequence[str] = (),
    annealing: Annealing | None = None,
) -> dict[str, Any]:
    """Measure the model of a run, in the form of ``evaluate --json``.

    Args:
        opened: the run.
        data: a data set in place of the run's own; it must have the same shape and space.
        k: importance samples for each datum.
        seed: of every random draw.
        spaces: names of feature spaces in which samples are compared with the data.
        annealing: settings of annealed importance sampling, the score ``ais``; it is not computed by default.

    Raises:
        DataError: if the run's own data cannot be loaded or have changed, or the other data do not fit the model.
        ConfigError: if the other data have another shape; or, before any score is computed, if the model has none by
            annealed importance sampling and that is asked for.
    """
    retain_heap()
    dataset = opened.data if data is None else opened.load(data)
    if annealing is not None:
        check_annealed(opened.model, dataset, dataset.test.tensors(seed), annealing)
    if annealing is not None and dataset.space.probability == "density":
        annealing = replace(annealing, smoothed=common_noise(dataset, seed))
    scores = evaluate(opened.model, dataset, k=k, seed=seed, spaces=spaces, annealing=annealing)
    return {
        "model": opened.config.model,
        "data": dataset.name,
        "split": "test",
        "n": len(dataset.test),
        "scores": {name: score.as_dict() for name, score in scores.items()},
    }


def likelihood_scores(
    model: Any, data: Dataset | Split, *, k: int = 100, seed: int = 0, annealing: Annealing | None = None
) -> dict[str, Score]:
    """Return ``log_likelihood``, the bounds it is based on, ``bits_per_dim`` for quantised data, ``kde`` and ``ais``.

    The detail ``of`` says what the likelihood is of where that is not ``log p(x)``. A density that has no upper bound
    on the data (see ``unbounded_reason``) is an estimate, and its ``note`` says why.
    """
    split = data.test if isinstance(data, Dataset) else data
    x, *rest = split.tensors(seed)
    scores, values = _model_likelihood(model, data, (x, *rest), k, seed)
    if annealing is not None:
        scores |= annealed_scores(model, data, (x, *rest), annealing, seed)
    return in_data_units(scores, values, model, data, (x, *rest), seed)


def in_data_units(
    scores: Mapping[str, Score],
    values: Tensor | None,
    model: Any,
    data: Dataset | Split,
    test: tuple[Tensor, ...],
    seed: int,
) -> dict[str, Score]:
    """Likelihoods of model coordinates in the user's units, as what they are of; estimates if they are unbounded.

    Args:
        scores: the likelihoods.
        values: the best of each datum, ``(n,)``; ``None`` for a density estimate.
        model: of which they are.
        data: what the test data are of.
        test: the test data.
        seed: of the examination of the data.
    """
    if not scores:
        return {}
    x, *rest = test
    converted, space, of = dict(scores), data.space, conditional_target(model, x, *rest)
    hidden = rest[0].isnan() if of == GIVEN_PART else None
    if space is not None:
        converted = in_user_units(converted, space, hidden)
        best = converted.get("log_likelihood")
        if space.levels and hidden is None and values is not None and best is not None:
            kind = "estimate" if best.kind == "estimate" else "upper_bound"
            note = {name: best.detail[name] for name in ("note",) if name in best.detail}
            bits = space.bits_per_dim(values + space.log_det, x)
            converted["bits_per_dim"] = mean_score(bits, kind, "bits/dim", **note)
    reason = None if values is None else unbounded_reason(x, space, seed)
    probability = _probability(model, space, test) if reason else "mass"
    if reason and probability != "mass":
        reason += "" if probability else "; a log-mass declares probability = 'mass'"
        converted = {name: _as_estimate(score, reason) for name, score in converted.items()}
    return {name: replace(s, detail={**s.detail, "of": of}) for name, s in converted.items()} if of else converted


def _probability(model: Any, space: Space | None, test: tuple[Tensor, ...]) -> str | None:
    """Whether the model has a ``density`` or a ``mass``; ``None`` if its ``log_prob`` may be either."""
    probability: str | None = getattr(model, "probability", None) if space is None else space.probability
    if probability is None and not callable(getattr(model, "log_prob", None)):
        probability = structure_of(model, *test).probability
    return probability


def _as_estimate(score: Score, reason: str) -> Score:
    note = "; ".join(text for text in (score.detail.get("note"), reason) if text)
    return replace(score, kind="estimate", detail={**score.detail, "note": note})


def _model_likelihood(
    model: Any, data: Dataset | Split, test: tuple[Tensor, ...], k: int, seed: int
) -> tuple[dict[str, Score], Tensor | None]:
    """The scores in model coordinates, in nats, and the values of each datum; ``None`` for a density estimate."""
    space = data.space
    x, *rest = test
    if callable(getattr(model, "log_prob", None)):
        declared = getattr(model, "probability", None)
        if space is not None and declared is not None and declared != space.probability:
            raise ConfigError(f"the model has a {declared}, but the likelihood of this data set is a {space}")
        # Labels are summed out, so that the value is log p(x), as an unconditional model's is.
        given = () if isinstance(getattr(model, "condition", None), Label) else rest
        return density_scores(drop_extra_args(model.log_prob), x, *given, space=space, seed=seed)
    if is_pair(model):
        return pair_scores(model, x, *rest, space=space, k=k, seed=seed)
    if isinstance(model, Sampler):
        if space is not None and space.probability == "mass":
            return {}, None  # a kernel-density estimate is not comparable with the masses of this data set
        if isinstance(data, Dataset):
            valid, judged = data.valid.tensors(seed)[0], x
        else:  # half of the rows select the bandwidth
            check_sets("kde", 2, test=x)
            valid, judged = random_rows(x, len(x), seed, "kde").tensor_split([len(x) // 2])
        with scoped_seed(derive(seed, "kde")):
            samples = in_chunks(model, KDE_SAMPLES, shape=x.shape[1:])
        return {"kde": kde_score(judged, samples, valid)}, None
    if isinstance(model, Reconstructing):
        return {}, None
    raise ConfigError(
        f"cannot evaluate a {type(model).__name__}: expected log_prob, model and guide, sample, or reconstruct"
    )
