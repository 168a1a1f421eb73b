"""What the page on which a model is explored shows, as data; pictures are ``(…, c, h, w)`` in [0, 1], on the CPU."""

from dataclasses import dataclass

from torch import Tensor

ACTIVE = 0.01
"""A unit is active if the variance of its posterior mean over data is above this (Burda et al., ICLR 2016)."""


@dataclass(frozen=True)
class Units:
    """How much data use each coordinate of the code.

    Args:
        variance: of the code over data, ``(d,)``.
        divergence: the mean of KL(q(z_i | x) ‖ p(z_i)) over data in nats, ``(d,)``; ``None`` where it is not known.
        n: the number of data.
        reason: why the divergence is not known.
    """

    variance: Tensor
    divergence: Tensor | None
    n: int
    reason: str = ""

    @property
    def active(self) -> Tensor:
        """Whether each unit is active, ``bool (d,)``."""
        return self.variance > ACTIVE

    @property
    def order(self) -> Tensor:
        """The units from the most active on, by divergence or else by variance, ``long (d,)``."""
        return (self.variance if self.divergence is None else self.divergence).argsort(descending=True, stable=True)


@dataclass(frozen=True)
class Plane:
    """Data in the plane of their codes.

    Args:
        points: the place of each datum, ``(n, 2)``.
        axes: what the two coordinates are.
        is_line: whether the code has one coordinate, and the second of a point only separates it from others.
        reconstructions: of each datum, ``(n, c, h, w)``.
    """

    points: Tensor
    axes: tuple[str, str]
    is_line: bool
    reconstructions: Tensor


@dataclass(frozen=True)
class Sliders:
    """Pictures of codes in which one coordinate is moved.

    Args:
        units: the coordinates that have a slider, ``long (u,)``.
        deviations: the positions of a slider in standard deviations from its middle, ``(p,)``.
        values: of the coordinate at each position, ``(1 + anchors, u, p)``: around the mean code, and around the code
            of each anchor.
        pictures: decoded, ``(1 + anchors, u, p, c, h, w)``.
    """

    units: Tensor
    deviations: Tensor
    values: Tensor
    pictures: Tensor


@dataclass(frozen=True)
class Exploration:
    """All that the page shows of a model.

    Args:
        model: the name of the model.
        data: the name of the data.
        classes: the class names by label; empty where there are no labels.
        labels: of the pictures, ``long (n,)``; ``None`` without.
        rows: the numbers of the pictures: rows of the data, or latent draws, ``long (n,)``.
        pictures: data or, of a model without an encoder, what it generates from latent draws, ``(n, c, h, w)``.
        anchors: the pictures around which sliders move and between which paths lead, ``long (a,)``.
        plane: of the codes; ``None`` for a model without an encoder.
        units: of the code; ``None`` for a model without an encoder.
        sliders: of the most active units.
        paths: between every two anchors, in the order (0, 1), (0, 2), …, (1, 2), …: ``(pairs, steps, c, h, w)``;
            ``None`` for one anchor.
        conditional: whether pictures are decoded given side information: on a path, that of its earlier anchor; around
            the mean code, that of the first.
        shrunk: the factor by which pictures are smaller than the data.
    """

    model: str
    data: str
    classes: tuple[str, ...]
    labels: Tensor | None
    rows: Tensor
    pictures: Tensor
    anchors: Tensor
    plane: Plane | None
    units: Units | None
    sliders: Sliders
    paths: Tensor | None
    conditional: bool
    shrunk: int = 1
