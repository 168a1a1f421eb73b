"""Recipes of tractable densities."""

from functools import partial

from pyro.infer import TraceEnum_ELBO

from pyrogen.data.dataset import Dataset
from pyrogen.data.space import require
from pyrogen.errors import ConfigError, unknown
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.explicit.histogram import Histogram
from pyrogen.explicit.kde import KernelDensity
from pyrogen.explicit.mixture import GaussianMixture
from pyrogen.explicit.ppca import PPCA
from pyrogen.recipes.setup import TrainingSetup, label_condition, svi
from pyrogen.steps.closed_form import ClosedForm


def gaussian(
    data: Dataset,
    *,
    covariance: str = "full",
    steps: int = 2000,
    batch_size: int = 256,
    lr: float = 0.03,
) -> TrainingSetup:
    """Gaussian density, diagonal or full covariance, by maximum likelihood (exact log-likelihood)."""
    require(data.space, Gaussian.probability, "a Gaussian")
    x, *_ = data.train.tensors()
    flat = x.flatten(1)
    model = Gaussian(data.shape, covariance, flat.mean(0), flat.std(0).clamp_min(1e-6))
    return TrainingSetup(model, svi(model, lr, steps), data)


def ppca(
    data: Dataset,
    *,
    latent: int = 16,
    fit: str = "closed",
    steps: int = 2000,
    batch_size: int = 256,
    lr: float = 0.01,
) -> TrainingSetup:
    """Probabilistic PCA, in closed form or by SVI (exact log-likelihood)."""
    require(data.space, PPCA.probability, "PPCA")
    if fit not in ("closed", "svi"):
        raise unknown("fit", fit, ("closed", "svi"))
    x, *_ = data.train.tensors()
    model = PPCA(data.shape, latent, x.mean(0), float(x.flatten(1).std(0).square().mean().sqrt()))
    if fit == "closed":
        return TrainingSetup(model, ClosedForm(model, partial(PPCA.from_data, x, latent)), data)
    return TrainingSetup(model, svi(model, lr, steps), data)


def mixture(
    data: Dataset,
    *,
    components: int = 10,
    covariance: str = "full",
    min_std: float = 0.03,
    condition: str = "none",
    steps: int = 2000,
    batch_size: int = 256,
    lr: float = 3e-3,
) -> TrainingSetup:
    """Mixture of Gaussians, diagonal or full covariances, by enumeration (exact log-likelihood)."""
    require(data.space, GaussianMixture.probability, "a mixture of Gaussians")
    x, *_ = data.train.tensors()
    given = label_condition(data, condition)
    model = GaussianMixture.from_clusters(x, components, covariance, min_std, condition=given)
    return TrainingSetup(model, svi(model, lr, steps, loss=TraceEnum_ELBO(max_plate_nesting=1)), data)


def kde(
    data: Dataset,
    *,
    points: int = 10_000,
    steps: int = 1,
    batch_size: int = 256,
) -> TrainingSetup:
    """Kernel-density estimate, its bandwidth chosen by validation (exact log-likelihood)."""
    require(data.space, KernelDensity.probability, "a kernel-density estimate")
    if points < 1:
        raise ConfigError(f"points must be at least 1; got {points}")
    x, valid = data.train.tensors()[0][:points], data.valid.tensors()[0]
    model = KernelDensity(x)
    return TrainingSetup(model, ClosedForm(model, partial(KernelDensity.from_data, x, valid)), data)


def histogram(
    data: Dataset,
    *,
    bins: int = 32,
    background: float = 1e-3,
    steps: int = 1,
    batch_size: int = 256,
) -> TrainingSetup:
    """Joint histogram, for a few dimensions (exact log-likelihood)."""
    probability = data.space.probability
    bins = 2 if probability == "mass" else bins
    model = Histogram(data.shape, bins, probability, background)
    x, *_ = data.train.tensors()
    return TrainingSetup(model, ClosedForm(model, partial(Histogram.from_data, x, bins, probability, background)), data)
