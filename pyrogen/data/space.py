"""The space of a data set, which determines what likelihoods on it can be compared with.

Two likelihoods are comparable only if both are probability masses on the same set, or densities with respect to the
same coordinates. Every data set therefore carries its space, and every measure checks it.
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
        support: ``binary`` (a mass on {0, 1}^D), ``unit`` (a density on [0, 1]^D), ``logit`` (a density
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
        """Map values in [0, 1] into this space (the identity, except for ``logit``)."""
        return torch.logit(self.squeeze + (1 - 2 * self.squeeze) * x) if self.support == "logit" else x

    def to_image(self, x: Tensor) -> Tensor:
        """Map data or samples to images in [0, 1], the form in which samples of all models are compared.

        Dequantised values become grey levels (``floor(L x) / (L - 1)``) and binary ones 0 or 1. ``real`` data are not
        images and are returned unchanged.
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

        ``-(log p(x) - D log L) / (D log 2)`` is, by Jensen's inequality over the dequantisation noise, an upper bound
        on the code length of the grey levels. A density in logit space is first transformed to [0, 1].

        Args:
            log_prob: log-densities in this space, in nats, ``(batch,)``.
            x: the data, ``(batch, *event)``.
        """
        dims = x[0].numel()
        if self.support == "logit":
            s = torch.sigmoid(x).clamp(self.squeeze / 2, 1 - self.squeeze / 2)
            log_prob = log_prob + (log(1 - 2 * self.squeeze) - s.log() - (-s).log1p()).flatten(1).sum(1)
        return -(log_prob - dims * log(max(self.levels, 1))) / (dims * log(2))


def require_probability(given: Space, probability: str, who: str) -> None:
    """Raise ``ConfigError`` unless the likelihood of ``who`` is a mass or a density as that of this space is."""
    if given.probability != probability:
        raise ConfigError(
            f"{who} computes a probability {probability}, but the likelihood of this data set is a {given}"
        )
