"""Gaussian models as mixtures of Gaussians over flattened data, in float64."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import ConfigError
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.explicit.mixture import GaussianMixture
from pyrogen.explicit.mppca import PPCAMixture
from pyrogen.explicit.ppca import PPCA

GAUSSIANS = (Gaussian, PPCA, GaussianMixture, PPCAMixture)
"""The models that are mixtures of Gaussians, of one or several components."""


@dataclass(frozen=True)
class Components:
    """A mixture of Gaussians over flattened data.

    Args:
        log_weights: ``(k,)``.
        means: ``(k, d)``.
        covariances: ``(k, d, d)``.
    """

    log_weights: Tensor
    means: Tensor
    covariances: Tensor


def components(model: Any) -> Components | None:
    """A Gaussian model as a mixture in float64; ``None`` for other models."""
    if isinstance(model, GAUSSIANS) and model.condition is not None:
        raise ConfigError("a mixture given labels has no single closed-form p(x | y): use an unconditional one")
    if isinstance(model, PPCAMixture):
        scale, weight = model.scale.double(), model.weight[0].double()
        isotropic = torch.diag_embed(model.sigma[0].double().square()[:, None].expand(-1, len(model.mean)))
        means = model.mean.double() + scale * model.loc[0].double()
        return Components(model.logits[0].double().log_softmax(0), means, scale**2 * (weight @ weight.mT + isotropic))
    if isinstance(model, GaussianMixture):
        scale = model.scale.double()
        factor = torch.diag_embed(model.diagonal) if model.covariance == "diagonal" else model.factor
        factor = scale[:, None] * factor.double()
        means = model.mean.double() + scale * model.loc.double()
        return Components(model.logits.double().log_softmax(0), means, factor @ factor.mT)
    if isinstance(model, Gaussian | PPCA):
        distribution = model.distribution()
        variances = getattr(distribution, "covariance_matrix", None)
        covariance = torch.diag(distribution.variance) if variances is None else variances
        return Components(
            distribution.mean.new_zeros(1).double(), distribution.mean.double()[None], covariance.double()[None]
        )
    return None
