"""The space of a data set: its units, the coordinates in which models see it, and what its likelihoods mean.

Two likelihoods are comparable only if both are probability masses on the same set, or densities with respect to the
same coordinates. Every data set therefore carries its space, and every measure checks it. The space also maps the
user's values to model coordinates and back: models see standardised columns, and likelihoods are in the user's units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import PlainSerializer, PlainValidator
from torch import Tensor
from torch.nn import functional as F

from pyrogen.data.columns import Column
from pyrogen.errors import ConfigError
from pyrogen.nn.precision import default_dtype


def _numbers(values: Any) -> Tensor | None:
    """What the JSON form of coordinates stands for: nested lists of numbers, or nothing."""
    return None if values is None else torch.tensor(values, dtype=torch.float64)


def _nested_lists(x: Tensor | None) -> Any:
    return None if x is None else x.tolist()


Coordinates = Annotated[Tensor | None, PlainValidator(_numbers), PlainSerializer(_nested_lists)]
"""Numbers of the shape of one datum, ``float64``, each with all its digits in JSON."""


@dataclass(frozen=True)
class Space:
    """The space of a data set.

    Model coordinates are ``z = (v - location) / scale``, with v the values in [0, 1], their logits, or the columns of a
    table with categories as one-hot vectors. Values on a lattice are dequantised by ``v + step u``, ``u ~ U(0, 1)``.

    Args:
        support: ``binary`` (a mass on {0, 1}^D), ``unit`` (a density on [0, 1]^D), ``logit`` (a density
            on R^D over ``logit(λ + (1 - 2λ) x)``) or ``real`` (a density on R^D; over a dequantised lattice, a bound
            on a mass).
        levels: the number of grey levels L that were dequantised by ``(k + u) / L``; 0 if none.
        squeeze: λ of the logit map.
        columns: the columns of vectors.
        location, scale: the mean and standard deviation of training data, ``float64``, of the shape of one datum;
            ``None`` for data that models see as they are. They do not change what a likelihood means, so spaces that
            differ only in them are equal.
    """

    support: Literal["binary", "unit", "logit", "real"]
    levels: int = 0
    squeeze: float = 1e-6
    columns: tuple[Column, ...] = ()
    location: Coordinates = field(default=None, compare=False, repr=False)
    scale: Coordinates = field(default=None, compare=False, repr=False)

    @property
    def probability(self) -> Literal["mass", "density"]:
        """Whether a model on this space has a probability mass or a probability density."""
        return "mass" if self.support == "binary" else "density"

    @property
    def is_lattice(self) -> bool:
        """Whether some column is discrete, so that a density bounds the mass of its values."""
        return self.support == "real" and any(column.step for column in self.columns)

    def __str__(self) -> str:
        if self.is_lattice:
            discrete = sum(1 for column in self.columns if column.step)
            return f"mass on a lattice, {discrete} of {len(self.columns)} columns dequantised"
        grid = f", {self.levels} levels dequantised" if self.levels else ""
        domain = {"binary": "{0, 1}", "unit": "[0, 1]", "logit": "R (logit)", "real": "R"}[self.support]
        return f"{self.probability} on {domain}{grid}"

    def standardised(self, location: Tensor, scale: Tensor) -> Self:
        """The same space with other model coordinates."""
        return replace(self, location=location.double(), scale=scale.double())

    @cached_property
    def log_det(self) -> float:
        """``log |dz / dv|`` plus the log-volume of a lattice cell, in nats.

        A model's log-density of model coordinates plus this is the log-likelihood in the user's units: a density of
        real columns, and for columns on a lattice, by Jensen's inequality, a lower bound of the mass.
        """
        cells = sum(log(column.step) for column in self.columns if column.step)
        return cells - (0.0 if self.scale is None else float(self.scale.log().sum()))

    def from_unit(self, x: Tensor) -> Tensor:
        """Map values in [0, 1] to model coordinates."""
        if self.support == "logit":
            x = torch.logit(self.squeeze + (1 - 2 * self.squeeze) * x)
        return self.standardise(x)

    def standardise(self, v: Tensor) -> Tensor:
        """``(v - location) / scale`` in torch's default dtype; differences are taken in ``float64``."""
        if self.location is None or self.scale is None:
            return v
        if self.support == "logit":  # of order 1: nothing is lost in single precision
            return (v - self.location.to(v)) / self.scale.to(v)
        return ((v.double() - self.location.to(v.device)) / self.scale.to(v.device)).to(default_dtype())

    def unstandardise(self, z: Tensor) -> Tensor:
        """``location + scale z``, in ``float64`` for vectors."""
        if self.location is None or self.scale is None:
            return z
        if self.support == "logit":
            return self.location.to(z) + self.scale.to(z) * z
        return self.location.to(z.device) + self.scale.to(z.device) * z.double()

    def from_columns(self, values: Tensor, u: Tensor | float = 0.5) -> Tensor:
        """Map rows of a table to model coordinates, ``(n, D)``.

        Args:
            values: numbers and codes ``(n, columns)``.
            u: where in its cell each discrete value is put, in (0, 1): ``(n, D)``, or one number for all.
        """
        return self.standardise(self._expand(values) + u * self._steps.to(values.device))

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of dequantised rows of a table, each ``(D,)``, exact over the noise."""
        v, steps = self._expand(values), self._steps.to(values.device)
        return v.mean(0) + steps / 2, (v.var(0, correction=0) + steps.square() / 12).sqrt()

    def _expand(self, values: Tensor) -> Tensor:
        """One-hot vectors in place of codes: ``(n, columns)`` becomes ``(n, D)``, ``float64``."""
        values = values.double()
        if all(column.width == 1 for column in self.columns):
            return values
        parts = [
            F.one_hot(values[:, i].long(), column.width).double() if column.width > 1 else values[:, i, None]
            for i, column in enumerate(self.columns)
        ]
        return torch.cat(parts, 1)

    def to_user(self, z: Tensor) -> Tensor:
        """Map samples to the user's units.

        Images become values in [0, 1]: dequantised values become grey levels (``floor(L x) / (L - 1)``) and binary ones
        0 or 1. Vectors become rows ``(n, columns)`` in ``float64``, with discrete values on their lattice and
        categories as codes (``Column.to_user`` turns them into texts).
        """
        if self.support == "binary":
            return (z > 0.5).to(z.dtype)
        if self.support == "real":
            return self._to_columns(z)
        x = self.unstandardise(z)
        if self.support == "logit":
            x = (torch.sigmoid(x) - self.squeeze) / (1 - 2 * self.squeeze)
        if self.levels:
            return (x * self.levels).floor().clamp(0, self.levels - 1) / (self.levels - 1)
        return x.clamp(0, 1)

    def to_comparable(self, z: Tensor) -> Tensor:
        """Map data or samples to the form in which samples are compared.

        Images in [0, 1] as ``to_user`` returns them; vectors with discrete values on their lattice, standardised, so
        that distances do not depend on units.
        """
        return self.from_columns(self._to_columns(z)) if self.support == "real" and self.columns else self.to_user(z)

    def _to_columns(self, z: Tensor) -> Tensor:
        v = self.unstandardise(z)
        if not self.is_lattice:
            return v
        parts, start = [], 0
        for column in self.columns:
            part, start = v[:, start : start + column.width], start + column.width
            if column.width > 1:
                part = part.argmax(1, keepdim=True).to(v.dtype)
            elif column.step:
                cell = ((part - column.low) / column.step).floor().clamp(0, column.cells - 1)
                part = column.low + column.step * cell
            parts.append(part)
        return torch.cat(parts, 1)

    @cached_property
    def _steps(self) -> Tensor:
        """The step of every dimension, ``(D,)``; 0 for reals."""
        steps = [column.step for column in self.columns for _ in range(column.width)]
        return torch.tensor(steps, dtype=torch.float64)

    def bits_per_dim(self, log_prob: Tensor, x: Tensor) -> Tensor:
        """Bits per dimension of the quantised data, shape ``(batch,)``, lower is better.

        ``-(log p(x) - D log L) / (D log 2)`` is, by Jensen's inequality over the dequantisation noise, an upper bound
        on the code length of the grey levels. A density in logit space is first transformed to [0, 1].

        Args:
            log_prob: log-likelihoods in the user's units, in nats, ``(batch,)``.
            x: the data in model coordinates, ``(batch, *event)``.
        """
        dims = x[0].numel()
        if self.support == "logit":
            s = torch.sigmoid(self.unstandardise(x)).clamp(self.squeeze / 2, 1 - self.squeeze / 2)
            log_prob = log_prob + (log(1 - 2 * self.squeeze) - s.log() - (-s).log1p()).flatten(1).sum(1)
        return -(log_prob - dims * log(max(self.levels, 1))) / (dims * log(2))


def require_probability(given: Space, probability: str, who: str) -> None:
    """Raise ``ConfigError`` unless the likelihood of ``who`` is a mass or a density as that of this space is."""
    if given.probability != probability:
        raise ConfigError(
            f"{who} computes a probability {probability}, but the likelihood of this data set is a {given}"
        )


def real_space(names: Sequence[str]) -> Space:
    """The space of vectors of real columns."""
    return Space("real", columns=tuple(Column(name, "real") for name in names))
