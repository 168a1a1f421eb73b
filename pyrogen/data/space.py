"""The measure of a data space: the unit in which likelihoods may be compared.

Two likelihoods compare only when both are masses on the same set, or both densities over the same
coordinates. A data set therefore carries its measure, and every judge asks for it.
"""

from dataclasses import dataclass
from math import log
from typing import Literal

import torch
from torch import Tensor

from pyrogen.errors import ConfigError


@dataclass(frozen=True)
class Space:
    """The space of a data set.

    Args:
        space: ``binary`` (a mass on {0, 1}^D), ``unit`` (a density on [0, 1]^D), ``logit`` (a density
            on R^D over ``logit(λ + (1 - 2λ) x)``) or ``real`` (a density on R^D).
        levels: the number of grey levels L that were dequantised by ``(k + u) / L``; 0 if none.
        squeeze: λ of the logit map.
    """

    support: Literal["binary", "unit", "logit", "real"]
    levels: int = 0
    squeeze: float = 1e-6

    @property
    def probability(self) -> Literal["mass", "density"]:
        """Whether a likelihood on this space is a probability mass or a probability density."""
        return "mass" if self.support == "binary" else "density"

    def __str__(self) -> str:
        grid = f", {self.levels} levels dequantised" if self.levels else ""
        domain = {"binary": "{0, 1}", "unit": "[0, 1]", "logit": "R (logit)", "real": "R"}[self.support]
        return f"{self.probability} on {domain}{grid}"

    def from_unit(self, x: Tensor) -> Tensor:
        """Map values of [0, 1] into this space (the identity but for ``logit``)."""
        return torch.logit(self.squeeze + (1 - 2 * self.squeeze) * x) if self.support == "logit" else x

    def to_image(self, x: Tensor) -> Tensor:
        """The picture in [0, 1] that a datum, or a model's sample, stands for.

        Dequantised values go back to their grey level (``floor(L x) / (L - 1)``) and binary ones to
        0 or 1: this is the common ground on which samples of all models are looked at and compared.
        ``real`` data are no pictures and stay as they are.
        """
        if self.support == "real":
            return x
        if self.support == "logit":
            x = (torch.sigmoid(x) - self.squeeze) / (1 - 2 * self.squeeze)
        if self.support == "binary":
            return (x > 0.5).to(x.dtype)
        if self.levels:
            return (x * self.levels).floor().clamp(0, self.levels - 1) / (self.levels - 1)
        return x.clamp(0, 1)

    def bits_per_dim(self, log_prob: Tensor, x: Tensor) -> Tensor:
        """Bits per dimension of the quantised data, shape ``(batch,)``, lower is better.

        ``-(log p(x) - D log L) / (D log 2)``: by Jensen's inequality over the dequantisation noise, an
        upper bound on the code length of the grey levels. In logit space the log-density is first
        carried back to [0, 1] by the Jacobian.

        Args:
            log_prob: nats per datum in this space, ``(batch,)``.
            x: the data it belongs to, ``(batch, *event)``.
        """
        dims = x[0].numel()
        if self.support == "logit":
            s = torch.sigmoid(x).clamp(self.squeeze / 2, 1 - self.squeeze / 2)
            log_prob = log_prob + (log(1 - 2 * self.squeeze) - s.log() - (-s).log1p()).flatten(1).sum(1)
        return -(log_prob - dims * log(max(self.levels, 1))) / (dims * log(2))


def require(given: Space, probability: str, who: str) -> None:
    """Raise unless the likelihood ``who`` computes (a ``mass`` or a ``density``) is one on this measure."""
    if given.probability != probability:
        raise ConfigError(f"{who} computes a probability {probability}, but the data set's measure is a {given}")
