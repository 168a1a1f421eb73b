"""Outliers: how strange each datum is to a model, with conformal p-values and control of false discoveries.

| Score | s(x), higher is stranger |
|---|---|
| ``likelihood`` | ``-log p(x)``, exact or a bound |
| ``typicality`` | ``|log p(x) - mean of log p over validation data|`` |
| ``complexity`` | ``-log p(x) - L(x)``, L the code length of x by a general compressor |
| ``residual`` | ``r(x) / std(r) + 3 max(|L(x) - mean L| / std(L) - 2, 0)``, ``r(x) = -log p(x) - a - b L(x)`` |
| ``ratio`` | ``log q(x) - log p(x)``, q a background model |
| ``reconstruction`` | ``|x - x̂|² / d`` |
| ``code`` | the mean distance of the code to the nearest codes of training data |
| ``critic`` | minus the critic's output |

A density can be higher on other data than on its own: smooth images have a high density under models of complex ones
(Nalisnick et al., "Do deep generative models know what they don't know?", ICLR 2019). The other scores of a likelihood
correct for that: typicality (Nalisnick et al., 2019), input complexity (Serrà et al., ICLR 2020), a background model
(Ren et al., NeurIPS 2019). ``complexity`` takes all of L away, so that it misses images more complex than any of the
training data. ``residual`` takes away what L explains of -log p among training data, by least squares, and adds how far
L itself is outside their range; a, b, means and deviations are those of training data.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrogen.data.dataset import Dataset, Split
from pyrogen.errors import ConfigError, unknown
from pyrogen.measure.evaluate import likelihood_scores
from pyrogen.measure.verdict.neighbours import nearest
from pyrogen.protocols import Density
from pyrogen.pyro_tools.decoders import is_pair
from pyrogen.random import generator
from pyrogen.use.codes import by_rows, encode, has_codes, reconstruct

NEIGHBOURS = 5
"""The nearest training codes to which the distance of a code is measured."""
MOST_CODES = 10_000
"""The most training codes that are compared with."""
MOST_REGRESSED = 2_000
"""The most training data by which -log p is regressed on the code length."""
WITHIN, STEEPNESS = 2.0, 3.0
"""Code lengths within so many deviations of their mean are usual; what is beyond counts that many times."""


@dataclass(frozen=True)
class Outliers:
    """How strange data are, in their order.

    Args:
        score: the name of the score.
        values: s(x), higher is stranger, ``(n,)``.
        p_values: the chance that a datum of the validation data's distribution is as strange, ``(n,)``.
        adjusted: by Benjamini and Hochberg's method: among those of at most q, the expected share of data that are no
            outliers is at most q, ``(n,)``.
    """

    score: str
    values: Tensor
    p_values: Tensor
    adjusted: Tensor

    @property
    def strangest(self) -> Tensor:
        """The rows from the strangest on, ``(n,)``."""
        return self.values.argsort(descending=True)


def find_outliers(
    model: Any,
    data: Dataset,
    x: Tensor,
    y: Tensor | None = None,
    *,
    score: str | None = None,
    background: Any = None,
    k: int = 100,
    seed: int = 0,
) -> Outliers:
    """Score data by a model that was trained on others, and test each for being an outlier.

    The conformal p-value of x is ``(1 + #{validation data at least as strange}) / (n + 1)``: of data of the same
    distribution, at most a share of α have one of at most α, whatever the model.

    Args:
        model: the model.
        data: what it was trained on; its validation split calibrates.
        x: data to judge in model coordinates, ``(n, *event)``.
        y: side information with ``n`` rows.
        score: a name of the table above; by default the first of ``default_scores``.
        background: the background model of ``ratio``.
        k: importance samples for each datum, where the likelihood is a bound.
        seed: of every random draw.

    Raises:
        ConfigError: for an unknown score, or one that the model does not have.
    """
    from scipy.stats import false_discovery_control

    name = score or default_scores(model, data)[0]
    rate = scorer(name, model, data, background, k, seed)
    valid = data.valid.tensors(seed)
    calibration = rate(valid[0], valid[1] if len(valid) > 1 and y is not None else None)
    values = rate(x, y)
    p_values = conformal_p_values(values, calibration)
    return Outliers(name, values, p_values, torch.from_numpy(false_discovery_control(p_values.numpy())))


def conformal_p_values(values: Tensor, calibration: Tensor) -> Tensor:
    """``(1 + #{calibration >= value}) / (n + 1)`` of each value, in float64; Vovk et al., 2005."""
    ordered = calibration.sort().values
    below = torch.searchsorted(ordered, values.contiguous(), side="left")
    return (1 + len(ordered) - below).double() / (len(ordered) + 1)


def default_scores(model: Any, data: Dataset) -> list[str]:
    """The scores that a model has without a background model, the recommended one first.

    Raises:
        ConfigError: if there is none.
    """
    likelihood = isinstance(model, Density) or is_pair(model)
    compressible = likelihood and data.is_image and data.space.support in ("unit", "binary")
    able = {
        "residual": compressible,
        "likelihood": likelihood,
        "typicality": likelihood,
        "complexity": compressible,
        "reconstruction": any(callable(getattr(model, name, None)) for name in ("reconstruct", "encode")),
        "code": has_codes(model),
        "critic": callable(getattr(model, "critic", None)),
    }
    found = [name for name, has in able.items() if has]
    if not found:
        raise ConfigError(f"a {type(model).__name__} has no likelihood, codes, reconstruction or critic")
    return found


SCORES = ("likelihood", "typicality", "complexity", "residual", "ratio", "reconstruction", "code", "critic")


def scorer(
    name: str, model: Any, data: Dataset, background: Any = None, k: int = 100, seed: int = 0
) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The score called ``name`` as a function ``(x, y) -> (n,)`` in float64, higher is stranger.

    Args:
        name: one of ``SCORES``.
        model, data, background, k, seed: as for ``find_outliers``.
    """

    def log_prob(x: Tensor, y: Tensor | None, of: Any = model) -> Tensor:
        return log_likelihoods(of, x, y, k=k, seed=seed)

    if name == "likelihood":
        return lambda x, y: -log_prob(x, y)
    if name == "typicality":
        expected = log_prob(*_first_two(data.valid.tensors(seed))).mean()
        return lambda x, y: (log_prob(x, y) - expected).abs()
    if name in ("complexity", "residual"):
        if not data.is_image:
            raise ConfigError(f"the {name} score needs images; got vectors")

        def lengths(x: Tensor) -> Tensor:
            return code_lengths(data.space.to_user(x)).to(x.device)

        if name == "complexity":
            return lambda x, y: -log_prob(x, y) - lengths(x)
        x, y = _some_training_data(data, MOST_REGRESSED, seed)
        residual = Residual(-log_prob(x, y), lengths(x))
        return lambda x, y: residual(-log_prob(x, y), lengths(x))
    if name == "ratio":
        if background is None:
            raise ConfigError("the ratio score needs a background model")
        return lambda x, y: log_prob(x, y, background) - log_prob(x, y)
    if name == "reconstruction":
        return lambda x, y: (reconstruct(model, x, y) - x).square().flatten(1).double().mean(1)
    if name == "code":
        codes = encode(model, *_some_training_data(data, MOST_CODES, seed)).flatten(1).float().cpu()
        return lambda x, y: nearest(encode(model, x, y).flatten(1).float().cpu(), codes, NEIGHBOURS)[0].mean(1).double()
    if name == "critic":
        if not callable(getattr(model, "critic", None)):
            raise ConfigError(f"a {type(model).__name__} has no critic")
        return lambda x, y: -by_rows(model, model.critic, 0, x, y).double()
    raise unknown("score", name, SCORES)


def log_likelihoods(model: Any, x: Tensor, y: Tensor | None = None, *, k: int = 100, seed: int = 0) -> Tensor:
    """The log-likelihood of each datum in nats, exact or a bound, ``(n,)`` in float64.

    Raises:
        ConfigError: if the model has no likelihood.
    """
    score = likelihood_scores(model, Split(x, y), k=k, seed=seed).get("log_likelihood")
    if score is None or score.values is None:
        raise ConfigError(f"a {type(model).__name__} has no likelihood")
    return score.values


def code_lengths(images: Tensor) -> Tensor:
    """The length of each image by DEFLATE after PNG's prediction from the value to the left, in nats, ``(n,)``.

    Args:
        images: ``(n, channel, height, width)`` in [0, 1]; taken at 256 levels.
    """
    levels = (images * 255).round().to(torch.uint8).cpu().numpy()
    left = np.diff(levels, axis=3, prepend=np.zeros_like(levels[..., :1]))
    return torch.tensor([8 * log(2) * len(zlib.compress(image.tobytes(), 9)) for image in left], dtype=torch.float64)


class Residual:
    """The score ``residual``: what code lengths do not explain of -log p(x), and how far they are out of range.

    Args:
        negative: -log p(x) of training data, ``(n,)``.
        lengths: L(x), ``(n,)``.
    """

    def __init__(self, negative: Tensor, lengths: Tensor) -> None:
        self.mean, self.spread = lengths.mean(), lengths.std().clamp_min(1e-9)
        self.offset = negative.mean()
        z = (lengths - self.mean) / self.spread
        self.slope = (z * (negative - self.offset)).mean()
        self.deviation = (negative - self.offset - self.slope * z).std().clamp_min(1e-9)

    def __call__(self, negative: Tensor, lengths: Tensor) -> Tensor:
        """s(x), ``(n,)``."""
        z = (lengths - self.mean) / self.spread
        return (negative - self.offset - self.slope * z) / self.deviation + STEEPNESS * (z.abs() - WITHIN).clamp_min(0)


def _some_training_data(data: Dataset, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """At most ``n`` random training data and their side information."""
    tensors = data.train.tensors(seed)
    rows = torch.randperm(len(tensors[0]), generator=generator(seed, "outliers"))[:n].to(tensors[0].device)
    return _first_two(tuple(part[rows] for part in tensors))


def _first_two(tensors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
    return tensors[0], tensors[1] if len(tensors) > 1 else None
