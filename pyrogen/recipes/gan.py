"""Recipes of fully connected GANs and moment matching networks, and of packed and relativistic GANs."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.implicit.base import Adversarial
from pyrogen.implicit.dcgan import DCGAN, ConvCritic
from pyrogen.implicit.gan import GAN
from pyrogen.implicit.gmmn import GMMN
from pyrogen.implicit.mlp import MLPCritic
from pyrogen.implicit.packing import Packed, packed_shape
from pyrogen.objectives.adversarial import NonSaturating, Relativistic, Wasserstein
from pyrogen.objectives.penalties import GradientPenalty
from pyrogen.recipes.adversarial import (
    LOSSES,
    adversarial_setup,
    classes_for,
    optimizer_pair,
    r1_penalty,
    r1_schedule,
)
from pyrogen.recipes.options import (
    R1,
    AdversarialSteps,
    AnyNetwork,
    Average,
    BatchSize,
    Binary,
    ConvLayers,
    ConvWidth,
    CriticRate,
    CriticSteps,
    EncoderHidden,
    GanLoss,
    GeneratorHidden,
    Hidden,
    Latent,
    Layers,
    LearningRate,
    MLPHidden,
    NonNegative,
    Positive,
    R1Start,
    Size,
    Steps,
    Width,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import (
    TrainingSetup,
    data_mean,
    gradient_step,
    in_unit_interval,
    initial_value,
    network_for,
)


@register("implicit", "none", "generative adversarial network, fully connected")
def gan(
    data: Dataset,
    *,
    latent: Latent = 64,
    hidden: GeneratorHidden = (256, 256),
    loss: GanLoss = "non_saturating",
    r1: R1 = 0.0,
    r1_start: R1Start = 0.0,
    n_binary: Binary = 0,
    critic_steps: CriticSteps = 1,
    critic_rate: CriticRate = 1.0,
    average: Average = 0.998,
    steps: AdversarialSteps = 8000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """Fully connected networks; ``r1_start`` makes γ decrease during training. Goodfellow et al., NeurIPS 2014."""
    penalty_schedule = r1_schedule(r1_start, r1, steps)
    model = GAN(data.shape, latent, hidden, unit=in_unit_interval(data), n_binary=n_binary)
    return adversarial_setup(
        model, data, LOSSES[loss](), steps, lr, average, optimizer_pair(lr, critic_rate),
        penalty=r1_penalty(r1), penalty_schedule=penalty_schedule, critic_steps=critic_steps,
    )  # fmt: skip


@register("implicit", "none", "class-conditional GAN, fully connected")
def cgan(
    data: Dataset,
    *,
    latent: Latent = 64,
    hidden: GeneratorHidden = (256, 256),
    loss: GanLoss = "non_saturating",
    critic_steps: CriticSteps = 1,
    average: Average = 0.998,
    steps: AdversarialSteps = 8000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """Fully connected networks with the label as input. Mirza and Osindero, 2014."""
    model = GAN(data.shape, latent, hidden, in_unit_interval(data), classes_for(data, "label", "cgan"))
    return adversarial_setup(model, data, LOSSES[loss](), steps, lr, average, critic_steps=critic_steps)


@register("implicit", "none", "GAN whose critic scores several samples jointly (PacGAN)")
def packed_gan(
    data: Dataset,
    *,
    pack: Annotated[
        Size, Field(description="m, rows scored jointly by the critic; `batch_size` must be a multiple")
    ] = 2,
    latent: Latent = 16,
    n_binary: Binary = 0,
    hidden: MLPHidden = (128, 128, 128),
    width: ConvWidth = 32,
    layers: ConvLayers = 0,
    network: AnyNetwork = "auto",
    r1: R1 = 0.005,
    critic_steps: CriticSteps = 1,
    average: Average = 0.998,
    steps: AdversarialSteps = 8000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """Non-saturating loss with R1; the critic scores packs of ``pack`` samples. Lin et al., NeurIPS 2018."""
    if batch_size % pack:
        raise ConfigError(f"batch_size must be a multiple of pack; got {batch_size} and {pack}")
    unit, shape = in_unit_interval(data), packed_shape(data.shape, pack)
    if network_for(data, network) == "conv":
        model: Adversarial = DCGAN(data.shape, latent, width, unit=unit, n_binary=n_binary, layers=layers)
        model.critic = Packed(ConvCritic(shape, width, norm="layer", unit=unit, layers=layers), pack)
    else:
        model = GAN(data.shape, latent, hidden, unit, n_binary=n_binary)
        model.critic = Packed(MLPCritic(shape, hidden[::-1]), pack)
    return adversarial_setup(
        model, data, NonSaturating(), steps, lr, average, penalty=r1_penalty(r1), critic_steps=critic_steps
    )


@register("implicit", "none", "relativistic GAN with R1 and R2, for vectors and images")
def relativistic_gan(
    data: Dataset,
    *,
    latent: Latent = 16,
    n_binary: Binary = 0,
    hidden: Hidden = (128, 128, 128),
    width: Width = 32,
    layers: Layers = 0,
    network: AnyNetwork = "auto",
    r1: Annotated[
        NonNegative,
        Field(description="γ of R1 and R2, for real data in units of their variance; 0 for no penalties"),
    ] = 6e-4,
    r1_start: R1Start = 0.25,
    critic_steps: CriticSteps = 1,
    critic_rate: CriticRate = 2.0,
    average: Average = 0.998,
    steps: AdversarialSteps = 8000,
    batch_size: BatchSize = 512,
    lr: LearningRate = 1.5e-3,
) -> TrainingSetup:
    """Relativistic pairing loss with R1 and R2, as in R3GAN. Huang et al., NeurIPS 2024."""
    penalty_schedule = r1_schedule(r1_start, r1, steps)
    unit = in_unit_interval(data)
    if network_for(data, network) == "conv":
        # R1 and R2 need scores that do not depend on other rows: no BatchNorm in the critic.
        model: Adversarial = DCGAN(data.shape, latent, width, unit=unit, n_binary=n_binary, norm="layer", layers=layers)
    else:
        model = GAN(data.shape, latent, hidden, unit, n_binary=n_binary)
    return adversarial_setup(
        model, data, Relativistic(), steps, lr, average, optimizer_pair(lr, critic_rate),
        penalty=r1_penalty(r1, samples=True),
        penalty_schedule=penalty_schedule,
        critic_steps=critic_steps,
    )  # fmt: skip


@register("implicit", "none", "generative moment matching network: the decoder of a VAE, trained by MMD or a critic")
def gmmn(
    data: Dataset,
    *,
    latent: Latent = 10,
    hidden: EncoderHidden = (256, 256),
    loss: Annotated[
        Literal["mmd", "non_saturating", "wasserstein"],
        Field(description="`mmd` to the data, or the loss of a critic with the encoder's widths"),
    ] = "mmd",
    penalty: Annotated[
        Positive, Field(description="weight of the critic's penalty: R1, or the gradient penalty of `wasserstein`")
    ] = 1.0,
    critic_steps: CriticSteps = 1,
    average: Average = 0.998,
    steps: Steps = 5000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """Gaussian kernels of four bandwidths; larger batches are better. Li, Swersky and Zemel, ICML 2015."""
    critic = None if loss == "mmd" else MLPCritic(data.shape, hidden)
    distance = initial_value(data, _distance, ())
    model = GMMN(data.shape, latent, hidden, in_unit_interval(data), data_mean(data), distance, critic)
    if loss == "mmd":
        return TrainingSetup(model, gradient_step(model, lr, steps), data)
    rule = r1_penalty(penalty) if loss == "non_saturating" else GradientPenalty(penalty)
    game = NonSaturating() if loss == "non_saturating" else Wasserstein()
    return adversarial_setup(model, data, game, steps, lr, average, penalty=rule, critic_steps=critic_steps)


def _distance(x: Tensor) -> Tensor:
    """The root mean square distance of two data: ``√(2 tr Cov)``."""
    return torch.sqrt(2 * x.flatten(1).var(0, correction=0).sum()).clamp_min(1e-6)
