"""Recipes of implicit models: a generator against a critic."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim import RMSprop

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, unknown
from pyrogen.implicit.base import Adversarial, Scale
from pyrogen.implicit.dcgan import DCGAN, ConvCritic
from pyrogen.implicit.gan import GAN
from pyrogen.implicit.mlp import MLPCritic
from pyrogen.implicit.packing import Packed, packed_shape
from pyrogen.implicit.resnet import ResGAN
from pyrogen.implicit.wgan import WGAN
from pyrogen.nn.conditions import Label
from pyrogen.objectives.adversarial import AdversarialLoss, Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein
from pyrogen.objectives.penalties import GradientPenalty, R1Penalty, apply_spectral_norm
from pyrogen.recipes.setup import (
    TrainingSetup,
    cosine,
    in_unit_box,
    label_counts,
    network_for,
    no_momentum,
    require_images,
    require_labels,
)
from pyrogen.steps.adversarial import AdversarialGame, wgan_critic_schedule
from pyrogen.steps.optimizers import MakeOptimizer

LOSSES: dict[str, type[AdversarialLoss]] = {
    "non_saturating": NonSaturating,
    "minimax": Minimax,
    "hinge": Hinge,
    "least_squares": LeastSquares,
}
"""The losses of recipes that leave the choice."""


def gan(
    data: Dataset,
    *,
    latent: int = 64,
    hidden: tuple[int, ...] = (256, 256),
    loss: str = "non_saturating",
    r1: float = 0.0,
    r1_start: float = 0.0,
    n_binary: int = 0,
    critic_steps: int = 1,
    critic_rate: float = 1.0,
    average: float = 0.998,
    steps: int = 8000,
    batch_size: int = 256,
    lr: float = 1e-3,
) -> TrainingSetup:
    """Generative adversarial network with fully connected players (implicit: samples only)."""
    if r1_start and not r1:
        raise ConfigError(f"r1_start is where r1 begins: set r1 too; got r1_start={r1_start}, r1={r1}")
    model = GAN(data.shape, latent, hidden, unit=in_unit_box(data), scale=_scale(data), n_binary=n_binary)
    penalty_schedule = _falling(r1_start / r1, steps) if r1_start else None
    return _setup(
        model, data, _loss(loss), steps, lr, average, _two_rates(lr, critic_rate),
        penalty=_r1(r1, data), penalty_schedule=penalty_schedule, critic_steps=critic_steps,
    )  # fmt: skip


def cgan(
    data: Dataset,
    *,
    latent: int = 64,
    hidden: tuple[int, ...] = (256, 256),
    loss: str = "non_saturating",
    critic_steps: int = 1,
    average: float = 0.998,
    steps: int = 8000,
    batch_size: int = 256,
    lr: float = 1e-3,
) -> TrainingSetup:
    """Conditional GAN: fully connected players that are given the label (implicit: samples only)."""
    model = GAN(data.shape, latent, hidden, in_unit_box(data), _classes(data, "label", "cgan"), _scale(data))
    return _setup(model, data, _loss(loss), steps, lr, average, critic_steps=critic_steps)


def dcgan(
    data: Dataset,
    *,
    latent: int = 32,
    width: int = 32,
    layers: int = 0,
    condition: str = "auto",
    norm: str = "batch",
    r1: float = 0.0,
    critic_steps: int = 1,
    critic_rate: float = 1.0,
    average: float = 0.999,
    steps: int = 5000,
    batch_size: int = 128,
    lr: float = 1e-3,
) -> TrainingSetup:
    """Deep convolutional GAN for images, given the label where there is one (implicit: samples only)."""
    require_images(data, "dcgan")
    if r1 and norm == "batch":
        raise ConfigError(f"r1 wants scores that do not depend on other rows: set norm=layer or none; got r1={r1}")
    model = DCGAN(
        data.shape, latent, width, _classes(data, condition), unit=in_unit_box(data), norm=norm, layers=layers
    )
    return _setup(
        model, data, NonSaturating(), steps, lr, average, _two_rates(lr, critic_rate),
        penalty=_r1(r1, data), critic_steps=critic_steps,
    )  # fmt: skip


def wgan(
    data: Dataset,
    *,
    latent: int = 64,
    hidden: tuple[int, ...] = (256, 256),
    network: str = "mlp",
    lipschitz: str = "clip",
    clip: float = 0.02,
    penalty: float = 10.0,
    critic_steps: int = 2,
    bursts: bool = False,
    average: float = 0.998,
    steps: int = 10_000,
    batch_size: int = 128,
    lr: float = 1e-3,
) -> TrainingSetup:
    """Wasserstein GAN, critic clipped or with gradient penalty (implicit: samples only)."""
    if lipschitz not in ("clip", "penalty"):
        raise unknown("lipschitz", lipschitz, ("clip", "penalty"))
    if network == "conv":
        require_images(data, "network=conv")
    model = WGAN(data.shape, latent, hidden, network, in_unit_box(data), _scale(data))
    clipped = lipschitz == "clip"
    return _setup(
        model,
        data,
        Wasserstein(),
        steps,
        lr,
        average,
        optim=partial(RMSprop, lr=lr) if clipped else None,
        clip=clip if clipped else None,
        penalty=None if clipped else GradientPenalty(penalty),
        critic_steps=wgan_critic_schedule(critic_steps) if bursts else critic_steps,
    )


def wgan_gp(
    data: Dataset,
    *,
    latent: int = 64,
    n_binary: int = 0,
    hidden: tuple[int, ...] = (128, 128, 128),
    width: int = 32,
    layers: int = 0,
    network: str = "auto",
    penalty: float = 1.0,
    critic_steps: int = 2,
    average: float = 0.998,
    steps: int = 10_000,
    batch_size: int = 256,
    lr: float = 1e-3,
) -> TrainingSetup:
    """Wasserstein GAN with gradient penalty, in units of the data's deviation (implicit: samples only)."""
    kind = network_for(data, network)
    shape, unit = data.shape, in_unit_box(data)
    model = WGAN(shape, latent, (width,) if kind == "conv" else hidden, kind, unit, _scale(data), n_binary, layers)
    rule = GradientPenalty(penalty)
    return _setup(model, data, Wasserstein(), steps, lr, average, penalty=rule, critic_steps=critic_steps)


def sngan(
    data: Dataset,
    *,
    latent: int = 64,
    width: int = 32,
    condition: str = "auto",
    loss: str = "hinge",
    critic_steps: int = 1,
    average: float = 0.999,
    steps: int = 5000,
    batch_size: int = 64,
    lr: float = 5e-4,
) -> TrainingSetup:
    """Residual GAN for images, the critic's weights normalised by their spectrum (implicit: samples only)."""
    require_images(data, "sngan")
    model = ResGAN(data.shape, latent, width, _classes(data, condition), in_unit_box(data))
    apply_spectral_norm(model.critic)
    return _setup(model, data, _loss(loss), steps, lr, average, critic_steps=critic_steps)


def packed_gan(
    data: Dataset,
    *,
    pack: int = 2,
    latent: int = 16,
    n_binary: int = 0,
    hidden: tuple[int, ...] = (128, 128, 128),
    width: int = 32,
    layers: int = 0,
    network: str = "auto",
    r1: float = 0.005,
    critic_steps: int = 1,
    average: float = 0.998,
    steps: int = 8000,
    batch_size: int = 256,
    lr: float = 1e-3,
) -> TrainingSetup:
    """GAN whose critic judges several samples at once, against mode collapse (implicit: samples only)."""
    if pack < 1 or batch_size % pack:
        raise ConfigError(f"batch_size must be a multiple of pack; got {batch_size} and {pack}")
    unit, shape = in_unit_box(data), packed_shape(data.shape, pack)
    if network_for(data, network) == "conv":
        model: Adversarial = DCGAN(data.shape, latent, width, unit=unit, n_binary=n_binary, layers=layers)
        model.critic = Packed(ConvCritic(shape, width, norm="layer", unit=unit, layers=layers), pack)
    else:
        model = GAN(data.shape, latent, hidden, unit, scale=_scale(data), n_binary=n_binary)
        model.critic = Packed(MLPCritic(shape, hidden[::-1], scale=_scale(data, pack)), pack)
    return _setup(model, data, NonSaturating(), steps, lr, average, penalty=_r1(r1, data), critic_steps=critic_steps)


def _setup(
    model: Adversarial,
    data: Dataset,
    loss: AdversarialLoss,
    steps: int,
    lr: float,
    average: float,
    optim: Any = None,
    **rules: Any,
) -> TrainingSetup:
    """The game of ``model``, by Adam with β = (0, 0.9) where nothing else is said."""
    if isinstance(model.condition, Label):
        model.condition.set_frequencies(label_counts(data))
    game = AdversarialGame(
        model.generator, model.critic, model.prior, loss, optim or no_momentum(lr), schedule=cosine(steps), **rules
    )
    return TrainingSetup(model, game, data, average)


def _two_rates(lr: float, critic_rate: float) -> tuple[MakeOptimizer, MakeOptimizer]:
    """The generator's optimiser, and the critic's with ``critic_rate`` times its learning rate."""
    if critic_rate <= 0:
        raise ConfigError(f"critic_rate must be positive; got {critic_rate}")
    return no_momentum(lr), no_momentum(critic_rate * lr)


def _loss(name: str) -> AdversarialLoss:
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return LOSSES[name]()


def _r1(weight: float, data: Dataset) -> R1Penalty | None:
    """R1 in units of the data's deviation, in which the critic sees them."""
    if weight < 0:
        raise ConfigError(f"r1 must not be negative; got {weight}")
    if weight == 0:
        return None
    scale = _scale(data)
    return R1Penalty(weight if scale is None else weight * float(scale.scale.square().mean()))


def _falling(factor: float, steps: int) -> Callable[[int], float]:
    """From ``factor`` to 1, evenly in its logarithm, over the first 60% of the steps."""
    return lambda t: factor ** max(1 - t / (0.6 * steps), 0.0)


def _classes(data: Dataset, condition: str, who: str = "condition=label") -> int:
    """How many labels the players are given."""
    if condition not in ("auto", "label", "none"):
        raise unknown("condition", condition, ("auto", "label", "none"))
    if condition == "label":
        require_labels(data, who)
    return 0 if condition == "none" else len(data.classes)


def _scale(data: Dataset, copies: int = 1) -> Scale | None:
    """The location and scale of real data (of ``copies`` side by side); ``None`` for data in [0, 1]."""
    if in_unit_box(data):
        return None
    x, *_ = data.train.tensors()
    spread = x.std(0).clamp_min(1e-6)
    return Scale(torch.cat([x.mean(0)] * copies), torch.cat([spread] * copies))
