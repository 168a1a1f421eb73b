"""Evaluate a model by every measure that its methods support."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrogen.data.checks import check_sets
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.loading import Source, as_data
from pyrogen.data.sources.dispatch import title
from pyrogen.data.step_arguments import explain_dtype_errors
from pyrogen.errors import ConfigError, DataError
from pyrogen.measure.features import FeatureSpace, check_spaces
from pyrogen.measure.kde import kde_score
from pyrogen.measure.likelihood import density_scores, in_user_units, mean_score, pair_scores
from pyrogen.measure.reconstruction import reconstruction_score
from pyrogen.measure.samples import N_SAMPLES, draw_samples, in_chunks, sample_scores
from pyrogen.nn.conditions import Label
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.protocols import Reconstructing, Sampler, Score
from pyrogen.pyro_tools.programs import drop_extra_args
from pyrogen.random import derive, random_rows, scoped_seed

KDE_SAMPLES = 10_000
"""The number of samples of a kernel-density estimate."""


def evaluate(
    model: Any, data: Source, *, k: int = 100, seed: int = 0, spaces: Sequence[FeatureSpace] = ()
) -> dict[str, Score]:
    """Compute every score that ``model`` supports on ``data``; the model is not changed.

    A density has an exact log-likelihood. A Pyro pair has an exact one if it has no latent variables, else the ELBO and
    the importance-weighted bound. Any other sampler has a kernel-density estimate, and an autoencoder a
    ``reconstruction`` error. With a whole ``Dataset``, samples are also compared with the test data.

    Args:
        model: an object with methods of ``pyrogen.protocols``, or an ``SVI`` step with its trained pair.
        data: a ``Dataset``, evaluated on its test split; a path, a data frame or a pyarrow table, loaded as such by
            ``load``; one split, for the likelihood alone; or rows as they are, a tensor, an array or ``(x, y)``, whose
            likelihood is that of model coordinates.
        k: the number of importance samples per datum.
        seed: the seed of all random draws.
        spaces: feature spaces in which samples are compared with the data of a ``Dataset``, as for ``feature_scores``.

    Returns:
        The scores by name.

    Raises:
        ConfigError: for a space that the data do not have, or if the model has none of a likelihood, ``sample`` and
            ``reconstruct``, or has a mass function where the data set has densities (or the reverse).
    """
    data = as_data(data)
    if not isinstance(data, Dataset | Split):
        raise DataError(f"expected a data set, a split, a path, a table, tensors or arrays; got a {title(data)}")
    if isinstance(data, Dataset):
        check_spaces(spaces, data)
    test = (data.test if isinstance(data, Dataset) else data).tensors(seed)
    with torch.no_grad(), eval_mode(model), explain_dtype_errors(model, test):
        scores = likelihood_scores(model, data, k=k, seed=seed)
        if isinstance(model, Reconstructing):
            scores["reconstruction"] = reconstruction_score(drop_extra_args(model.reconstruct), *test[:2])
        if isinstance(data, Dataset) and isinstance(model, Sampler):
            scores |= sample_scores(draw_samples(model, data, N_SAMPLES, seed), data, seed, spaces)
        return scores


def likelihood_scores(model: Any, data: Dataset | Split, *, k: int = 100, seed: int = 0) -> dict[str, Score]:
    """Return ``log_likelihood``, the bounds or estimates it is based on, and ``bits_per_dim`` for quantised data."""
    split = data.test if isinstance(data, Dataset) else data
    x, *rest = split.tensors(seed)
    scores, values = _model_likelihood(model, data, (x, *rest), k, seed)
    space = data.space
    if not scores or space is None:
        return scores
    # With side information computed from x, the likelihood is that of the values that y leaves out.
    hidden = None if split.side_fn is None else rest[0].isnan()
    scores = in_user_units(scores, space, hidden)
    if space.levels and hidden is None and values is not None:
        best = scores["log_likelihood"]
        kind = "estimate" if best.kind == "estimate" else "upper_bound"
        note = {name: best.detail[name] for name in ("note",) if name in best.detail}
        scores["bits_per_dim"] = mean_score(space.bits_per_dim(values + space.log_det, x), kind, "bits/dim", **note)
    return scores


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
    if callable(getattr(model, "model", None)) and callable(getattr(model, "guide", None)):
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
        estimate = kde_score(judged, samples, valid)
        return {"log_likelihood": estimate, "kde": estimate}, None
    if isinstance(model, Reconstructing):
        return {}, None
    raise ConfigError(
        f"cannot evaluate a {type(model).__name__}: expected log_prob, model and guide, sample, or reconstruct"
    )
