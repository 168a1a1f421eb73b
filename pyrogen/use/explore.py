"""What there is to see of a trained model of images: the plane of its codes, its active units, and pictures between.

The plane is that of two latent coordinates, or of the first two principal components of codes of more. A unit i is
active if Var_x(E_q[z_i | x]) > 0.01 (Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016);
how much of it is used is the mean over data of KL(q(z_i | x) ‖ p(z_i)) in nats.
"""

from collections import Counter
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyrogen.data.dataset import Dataset, Split
from pyrogen.errors import ConfigError, DataError
from pyrogen.pyro_tools.decoders import is_pair
from pyrogen.pyro_tools.divergence import coordinate_divergence
from pyrogen.pyro_tools.latents import LatentProgram
from pyrogen.random import derive, generator, scoped_seed
from pyrogen.report.explorer import Exploration, Plane, Sliders, Units
from pyrogen.report.pictures import in_units
from pyrogen.use.codes import by_rows, decode, encode, has_codes, needs_y, reconstruct
from pyrogen.use.interpolation import interpolate

CODES = 10_000
"""The most data whose codes are counted."""
SLIDERS = 8
"""The number of units that have a slider."""
DEVIATIONS = torch.linspace(-3, 3, 13)
"""The positions of a slider, in standard deviations of a coordinate."""
STEPS = 9
"""The pictures of a path, its ends included."""
VALUES = 3 * 32 * 32
"""The most values of a picture; larger ones are shrunk by a whole factor."""


def explore(
    model: Any, data: Dataset, rows: Split | None = None, *, n: int = 300, anchors: int = 12, seed: int = 0
) -> Exploration:
    """Compute what ``pyrogen.report.write_explorer`` shows.

    A model without an encoder that generates from latent draws has no plane and no active units.

    Args:
        model: a model of images with continuous codes (``encode`` and ``decode``, or a Pyro pair), or with
            ``generator`` and ``prior``.
        data: the data it was trained for.
        rows: data to show; by default the test data. A model without an encoder needs none.
        n: the most data that are shown in the plane, drawn at random.
        anchors: the most data around which sliders move and between which paths lead, first one of each class.
        seed: of draws.

    Raises:
        ConfigError: if the data are not images, or the model has no codes, discrete ones or some that are not finite.
        DataError: for no data.
    """
    if not data.is_image:
        raise ConfigError(
            f"an exploration shows images of 1 or 3 channels; the data {data.name!r} have the shape {data.shape}"
        )
    if n < 1 or anchors < 1:
        raise ConfigError(f"expected at least 1 datum and 1 anchor; got n={n}, anchors={anchors}")
    if has_codes(model):
        return _of_codes(model, data, data.test if rows is None else rows, n, anchors, seed)
    if not (callable(getattr(model, "generator", None)) and callable(getattr(model, "prior", None))):
        raise ConfigError(f"a {type(model).__name__} has neither codes nor a generator of latent draws to explore")
    if rows is not None:
        raise ConfigError(f"a {type(model).__name__} has no encoder, so it has no codes of other data")
    return _of_draws(model, data, anchors, seed)


def _of_codes(model: Any, data: Dataset, rows: Split, n: int, anchors: int, seed: int) -> Exploration:
    """Explore a model with an encoder."""
    if not len(rows):
        raise DataError("expected at least one datum to explore, got none")
    x, *rest = rows.tensors(seed)
    order = torch.randperm(len(x), generator=generator(seed, "explore"))[:CODES]
    labels = rows.y[rows.sample_index].cpu() if rows.y is not None and rows.y.ndim == 1 and data.classes else None
    chosen = order[:n].sort().values if labels is None else _by_class(order[:n], labels)
    labels = None if labels is None else labels[chosen]
    y = rest[0] if rest and needs_y(model) else None
    many, some = order.to(x.device), chosen.to(x.device)
    x_many, y_many = x[many], None if y is None else y[many]
    x, y = x[some], None if y is None else y[some]
    codes = encode(model, x_many, y_many)
    if codes.ndim != 2 or not codes.is_floating_point():
        raise ConfigError(f"the codes of a {type(model).__name__} are discrete: there is no plane of them to explore")
    if not codes.isfinite().all():
        raise ConfigError(f"{int((~codes.isfinite()).any(1).sum())} of {len(codes)} codes are not finite numbers")
    units = _units(model, x_many, y_many, codes)
    spread = encode(model, x_many, y_many, draw=True, seed=seed).std(0, correction=0)
    z = encode(model, x, y)
    kept = _spread_over_classes(labels, len(x), anchors)
    decoder = _Decoder(model, data, None if y is None else y[kept], x[:1])
    return Exploration(
        model=type(model).__name__,
        data=data.name,
        classes=data.classes if labels is not None else (),
        labels=labels,
        rows=torch.arange(len(rows))[rows.sample_index][chosen],
        pictures=decoder.shown(x),
        anchors=kept,
        plane=Plane(*_plane(codes, z, seed), decoder.shown(reconstruct(model, x, y))),
        units=units,
        sliders=decoder.sliders(units.order[:SLIDERS], codes.mean(0), z[kept], spread),
        paths=decoder.paths(z[kept]),
        conditional=y is not None,
        shrunk=decoder.factor,
    )


def _of_draws(model: Any, data: Dataset, anchors: int, seed: int) -> Exploration:
    """Explore a generator; coordinates that are -1 or 1 are not moved."""
    with scoped_seed(derive(seed, "explore")):
        z = model.prior(CODES)
        y = model.condition.draw(anchors) if needs_y(model) else None
    if not z.is_floating_point() or z.ndim != 2:
        raise ConfigError(f"the latent draws of a {type(model).__name__} are no vectors: there is nothing to move")
    continuous = z.shape[1] - getattr(model, "n_binary", 0)
    decoder = _Decoder(model, data, y, None)
    return Exploration(
        model=type(model).__name__,
        data=data.name,
        classes=data.classes if y is not None else (),
        labels=None if y is None else y.cpu(),
        rows=torch.arange(anchors),
        pictures=decoder.shown(decode(model, z[:anchors], y)),
        anchors=torch.arange(anchors),
        plane=None,
        units=None,
        sliders=decoder.sliders(torch.arange(continuous)[:SLIDERS], z.mean(0), z[:anchors], z.std(0)),
        paths=decoder.paths(z[:anchors]),
        conditional=y is not None,
        shrunk=decoder.factor,
    )


class _Decoder:
    """Decoded pictures of codes around anchors and between them.

    Args:
        model: the model.
        data: the data it was trained for.
        y: side information of the anchors.
        like: one datum, for a bare pair.
    """

    def __init__(self, model: Any, data: Dataset, y: Tensor | None, like: Tensor | None) -> None:
        self.model, self.data, self.y, self.like = model, data, y, like
        self.factor = ceil(sqrt(data.dims / VALUES))

    def shown(self, x: Tensor) -> Tensor:
        """Data as pictures, ``(n, c, h, w)``."""
        pictures = in_units(x, self.data).float().nan_to_num(nan=0.0)
        return F.avg_pool2d(pictures, [min(self.factor, side) for side in pictures.shape[2:]])

    def sliders(self, units: Tensor, mean: Tensor, anchors: Tensor, spread: Tensor) -> Sliders:
        """Move each of the units ``(u,)`` around the mean code ``(d,)`` and the anchors' ``(a, d)``."""
        start = torch.cat([mean[None], anchors])
        at = units.to(mean.device)
        moved = torch.where(spread > 0, spread, 1.0)[at, None] * DEVIATIONS.to(mean)
        values = start[:, at, None] + moved
        z = start[:, None, None].repeat(1, len(at), len(DEVIATIONS), 1)
        z.scatter_(3, at.view(1, -1, 1, 1).expand(*z.shape[:3], 1), values[..., None])
        y = None if self.y is None else torch.cat([self.y[:1], self.y]).repeat_interleave(z[0, ..., 0].numel(), 0)
        pictures = self.shown(decode(self.model, z.flatten(0, 2), y, like=self.like))
        return Sliders(units.cpu(), DEVIATIONS, values.cpu(), pictures.unflatten(0, z.shape[:3]))

    def paths(self, anchors: Tensor) -> Tensor | None:
        """The paths between every two anchors ``(a, d)``, with the side information of the first; ``None`` for one."""
        first, last = torch.triu_indices(len(anchors), len(anchors), 1, device=anchors.device)
        if not len(first):
            return None
        y = None if self.y is None else self.y[first]
        found = interpolate(self.model, anchors[first], anchors[last], y, steps=STEPS, codes=True, like=self.like)
        return self.shown(found.data.flatten(0, 1)).unflatten(0, (len(first), STEPS))


def _units(model: Any, x: Tensor, y: Tensor | None, codes: Tensor) -> Units:
    """The variance of each unit and, of a pair, its divergence from the prior."""
    variance = codes.var(0, correction=0).cpu()
    pair = getattr(model, "pair", model)
    if not is_pair(pair):
        return Units(variance, None, len(x), f"this {type(model).__name__} has no posterior as a Pyro guide")
    try:
        program = LatentProgram(pair, x, *(() if y is None else (y,)))
        columns = program.columns(codes.shape[1])
        divergence = by_rows(model, lambda *part: coordinate_divergence(pair, program, *part)[:, columns], 0, x, y)
    except ConfigError as error:
        return Units(variance, None, len(x), str(error))
    return Units(variance, divergence.mean(0).cpu(), len(x))


def _plane(codes: Tensor, z: Tensor, seed: int) -> tuple[Tensor, tuple[str, str], bool]:
    """The points of codes ``z (n, d)`` in the plane of ``codes``, what its axes are, and whether it is a line."""
    if z.shape[1] == 1:
        height = torch.arange(len(z)) * 0.618034 % 1  # evenly spread, and far from that of the next
        return torch.stack([z[:, 0].cpu(), height.to(z.dtype)], 1), ("z1", "no meaning, it separates the marks"), True
    if z.shape[1] == 2:
        return z.cpu(), ("z1", "z2"), False
    with scoped_seed(derive(seed, "plane")):
        _, _, directions = torch.pca_lowrank(codes, min(8, *codes.shape), niter=10)
    directions = F.pad(directions, (0, 1))[:, :2]  # one datum has one direction
    spread = (codes @ directions).var(0, correction=0) / codes.var(0, correction=0).sum().clamp_min(1e-30)
    first, second = spread.tolist()
    axes = f"first principal component, {first:.0%} of the variance", f"second, {second:.0%}"
    return ((z - codes.mean(0)) @ directions).cpu(), axes, False


def _by_class(rows: Tensor, labels: Tensor) -> Tensor:
    """Rows ordered by their labels, then by their numbers."""
    return rows[(labels[rows] * (int(rows.max()) + 1) + rows).argsort()]


def _spread_over_classes(labels: Tensor | None, n: int, most: int) -> Tensor:
    """At most ``most`` of ``n`` data: one of each class, then a second one, and so on; in order."""
    if labels is None:
        return torch.arange(min(n, most))
    seen: Counter[int] = Counter()
    places = []
    for i, label in enumerate(labels.tolist()):
        places.append((seen[label], label, i))
        seen[label] += 1
    return torch.tensor(sorted(i for _, _, i in sorted(places)[:most]))
