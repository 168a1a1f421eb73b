"""Paths between two data, or two codes, through the latent space.

    linear:     z_t = (1 - t) z_0 + t z_1
    spherical:  z_t = sin((1 - t) θ) / sin θ · z_0 + sin(t θ) / sin θ · z_1,   θ the angle between z_0 and z_1
    geodesic:   minimise Σ_i ‖g(z_{i+1}) - g(z_i)‖² over the inner points, g the decoder

A standard normal in many dimensions has its mass near a sphere, which the linear path leaves (White, "Sampling
generative networks", 2016). A geodesic is a shortest path in the metric JᵀJ of the decoder, with J its Jacobian
(Arvanitidis, Hansen and Hauberg, "Latent space oddity", ICLR 2018).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from pyrogen.data.dataset import Split
from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.measure.evaluate import likelihood_scores
from pyrogen.measure.features.classifier import Classifier
from pyrogen.use.codes import decode, decoder, encode

GEODESIC_STEPS = 200
"""Steps of Adam on the inner points of a geodesic."""


@dataclass(frozen=True)
class Interpolation:
    """Paths between pairs of data.

    Args:
        model: of the paths.
        codes: ``(n, steps, latent)``, the ends included.
        data: their decoded data in model coordinates, ``(n, steps, *event)``.
        y: side information, one row per path.
    """

    model: Any
    codes: Tensor
    data: Tensor
    y: Tensor | None = None

    def log_likelihood(self, k: int = 100, seed: int = 0) -> tuple[Tensor, str]:
        """The model's log-likelihood along the paths in nats, ``(n, steps)``, and its kind.

        The points are E[x | z], without observation noise, so that they can be likelier than any data.

        Args:
            k: importance samples for each point, where the likelihood is bounded.
            seed: of the samples.

        Raises:
            ConfigError: if the model has no likelihood.
        """
        steps = self.codes.shape[1]
        y = None if self.y is None else self.y.repeat_interleave(steps, 0)
        score = likelihood_scores(self.model, Split(self.data.flatten(0, 1), y), k=k, seed=seed).get("log_likelihood")
        if score is None or score.values is None:
            raise ConfigError(f"a {type(self.model).__name__} has no likelihood")
        return score.values.view(-1, steps), score.kind

    def confidence(self, classifier: Classifier, space: Space) -> Tensor:
        """The greatest class probability max_c p(c | x) along the paths, ``(n, steps)``.

        Args:
            classifier: of images, such as ``pyrogen.measure.get_classifier(data)``.
            space: of the model's data, ``data.space``.
        """
        _, log_prob = classifier(space.to_comparable(self.data.flatten(0, 1)))
        return log_prob.amax(1).exp().view(self.codes.shape[:2])


def interpolate(
    model: Any,
    first: Tensor,
    last: Tensor,
    y: Tensor | None = None,
    *,
    steps: int = 9,
    path: str = "linear",
    codes: bool = False,
    like: Tensor | None = None,
) -> Interpolation:
    """Interpolate between pairs of data, or of codes.

    Args:
        model: a model with codes (``encode``, ``decode``); an implicit model has a decoder alone, for ``codes``.
        first, last: the ends in model coordinates, ``(n, *event)``; with ``codes``, ``(n, latent)``.
        y: side information of a conditional model, ``n`` rows.
        steps: points of each path, the ends included.
        path: ``linear``, ``spherical`` or ``geodesic``.
        codes: whether the ends are codes.
        like: for the codes of a bare Pyro pair: data, at least one row, of which the shape is taken.

    Raises:
        ConfigError: for fewer than two steps, an unknown path, ends of different shapes, or a model without codes.
    """
    if steps < 2:
        raise ConfigError(f"a path has at least 2 points, its ends; got steps={steps}")
    if first.shape != last.shape:
        raise ConfigError(f"expected ends of one shape, got {tuple(first.shape)} and {tuple(last.shape)}")
    if codes:
        a, b = first, last
    else:
        a, b = encode(model, first, y), encode(model, last, y)
        if not a.is_floating_point():
            raise ConfigError(f"the codes of a {type(model).__name__} are discrete: there is nothing between them")
    like = like if codes else first
    t = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype).view(1, steps, 1)
    if path == "spherical":
        z = _spherical(a[:, None], b[:, None], t)
    elif path in ("linear", "geodesic"):
        z = torch.lerp(a[:, None], b[:, None], t)
    else:
        raise ConfigError(f"unknown path {path!r} (known: linear, spherical, geodesic)")
    if path == "geodesic" and steps > 2:
        z = _geodesic(model, z, y, like)
    many = None if y is None else y.repeat_interleave(steps, 0)
    x = decode(model, z.flatten(0, 1), many, like=like)
    return Interpolation(model, z, x.unflatten(0, (len(z), steps)), y)


def _spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation; linear between ends of equal or opposite direction."""
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    weights = ((1 - t) * angle).sin() / sine, (t * angle).sin() / sine
    return torch.where(sine > 1e-4, weights[0] * a + weights[1] * b, torch.lerp(a, b, t))


def _geodesic(model: Any, start: Tensor, y: Tensor | None, like: Tensor | None) -> Tensor:
    """Move the inner points of paths to minimise the energy of the decoded paths; never above that of the start."""
    generate, steps = decoder(model, y, like), start.shape[1]
    many = () if y is None else (y.repeat_interleave(steps, 0),)
    inner = start[:, 1:-1].detach().clone().requires_grad_()
    length = (start[:, -1] - start[:, 0]).square().mean().sqrt()
    optimizer = Adam([inner], lr=float(length.clamp_min(1e-6)) / steps / 10)

    def energy() -> tuple[Tensor, Tensor]:
        z = torch.cat([start[:, :1], inner, start[:, -1:]], 1)
        x = generate(z.flatten(0, 1), *many).flatten(1).unflatten(0, (len(z), steps))
        return (x[:, 1:] - x[:, :-1]).square().flatten(1).sum(1), z.detach().clone()

    best, found = torch.full((len(start),), torch.inf).to(start), start.clone()
    for _ in range(GEODESIC_STEPS + 1):
        value, z = energy()
        better = value.detach() < best
        best = torch.where(better, value.detach(), best)
        found[better] = z[better]
        (inner.grad,) = torch.autograd.grad(value.sum(), inner)
        optimizer.step()
    return found
