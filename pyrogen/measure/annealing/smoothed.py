"""The log-likelihood of a model to whose data Gaussian noise is added: one axis for explicit and implicit models.

    p_σ(x) = ∫ p(v) N(x; v, σ² I) dv

A model that generates points on a surface has no density; with noise it has one, and a model that has a density has
another. Two models with the same noise are compared as densities of the same kind. It is exact for Gaussians, their
mixtures and kernel estimates, and for other models with a decoder bounded by annealed importance sampling.
"""

from contextlib import suppress
from dataclasses import replace
from math import hypot
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyrogen.data.dataset import Dataset, Split
from pyrogen.explicit.components import GAUSSIANS, components
from pyrogen.explicit.kde import KernelDensity
from pyrogen.measure.annealing.score import (
    Annealing,
    NoDensity,
    annealed_score,
    decoder_with_density,
    noise_note,
    take_rows,
)
from pyrogen.measure.likelihood import mean_score
from pyrogen.nn.kernel_density import best_bandwidth, log_density
from pyrogen.protocols import Score
from pyrogen.pyro_tools.decoders import is_pair
from pyrogen.random import random_rows

MOST_POINTS = 10_000


def common_noise(data: Dataset, seed: int = 0) -> float:
    """σ of the noise with which the training data themselves predict validation data best, in model coordinates.

    It depends on the data alone, so it is the same for all models of a comparison. Of more than ``MOST_POINTS``
    training data, so many at random are taken.
    """
    points = random_rows(data.train.tensors(seed)[0], MOST_POINTS, seed, "common noise")
    return float(f"{best_bandwidth(data.valid.tensors(seed)[0], points, rows=1000):.3g}")


def annealed_scores(
    model: Any, data: Dataset | Split, test: tuple[Tensor, ...], settings: Annealing, seed: int = 0
) -> dict[str, Score]:
    """``ais`` of a model with a decoder, and ``smoothed_log_likelihood`` if the settings have a σ for it.

    Args:
        model: any model; one of which neither is known has neither, nor has a flow: its likelihood is exact, and its
            decoder maps as many latent variables as a datum has values.
        data, test, settings, seed: as for ``annealed_score``.
    """
    sigma, scores = settings.smoothed, dict[str, Score]()
    with suppress(NoDensity):
        _check_kind(model, data)
        scores["ais"] = annealed_score(model, data, test, settings, seed)
    if sigma and not _is_mass(data) and not _is_invertible(model):
        with suppress(NoDensity):
            scores["smoothed_log_likelihood"] = smoothed_score(model, data, test, sigma, settings, seed)
    return scores


def check_annealed(model: Any, data: Dataset | Split, test: tuple[Tensor, ...], settings: Annealing) -> None:
    """Raise ``NoDensity`` if ``annealed_scores`` would not have the score ``ais``; arguments as there."""
    _check_kind(model, data)
    decoder_with_density(model, *take_rows(test, 1, 0), settings)


def smoothed_score(
    model: Any, data: Dataset | Split, test: tuple[Tensor, ...], sigma: float, settings: Annealing, seed: int = 0
) -> Score:
    """The score ``smoothed_log_likelihood`` of a model in model coordinates, in nats.

    Args:
        model: a Gaussian, a mixture of Gaussians or a kernel estimate; or a model with a decoder.
        data, test, settings, seed: as for ``annealed_score``; of more test data than the settings have, as many are
            taken, the same for all models.
        sigma: σ, in model coordinates.

    Raises:
        ConfigError: if neither is known of the model.
    """
    exact = _exact(model, take_rows(test, settings.n, seed)[0], sigma)
    if exact is not None:
        return mean_score(exact, "exact", noise=sigma, note=noise_note(sigma))
    folder = None if settings.folder is None else settings.folder / "smoothed"
    score = annealed_score(model, data, test, replace(settings, noise=sigma, folder=folder), seed)
    return replace(score, detail={name: value for name, value in score.detail.items() if name != "rate_distortion"})


def _check_kind(model: Any, data: Dataset | Split) -> None:
    name = type(model).__name__
    if _is_mass(data) and not is_pair(model):
        raise NoDensity(f"a {name} with Gaussian noise has a density, but these data have a mass")
    if _is_invertible(model):
        raise NoDensity(f"the likelihood of a {name} is exact: annealed importance sampling has nothing to bound")


def _is_mass(data: Dataset | Split) -> bool:
    return data.space is not None and data.space.probability == "mass"


def _is_invertible(model: Any) -> bool:
    base = getattr(model, "base", None)
    return callable(getattr(model, "log_prob", None)) and base is not None and not _is_exact(model)


def _is_exact(model: Any) -> bool:
    return isinstance(model, (*GAUSSIANS, KernelDensity)) and getattr(model, "condition", None) is None


@torch.no_grad()
def _exact(model: Any, x: Tensor, sigma: float) -> Tensor | None:
    """Log p_σ(x) in closed form, ``(n,)``; ``None`` where there is none."""
    if not _is_exact(model):
        return None
    if isinstance(model, KernelDensity):
        return log_density(x, model.points, hypot(float(model.bandwidth), sigma))
    found = components(model)
    assert found is not None
    noise = sigma**2 * torch.eye(x[0].numel(), device=x.device, dtype=torch.float64)
    each = MultivariateNormal(found.means, found.covariances + noise).log_prob(x.flatten(1).double()[:, None])
    return (found.log_weights + each).logsumexp(1)
