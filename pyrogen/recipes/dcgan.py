"""Recipes of convolutional GANs."""

from typing import Annotated, Literal

from pydantic import Field

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.implicit.dcgan import DCGAN
from pyrogen.implicit.resnet import ResGAN
from pyrogen.objectives.adversarial import NonSaturating
from pyrogen.objectives.penalties import apply_spectral_norm
from pyrogen.recipes.adversarial import LOSSES, adversarial_setup, classes_for, optimizer_pair, r1_penalty
from pyrogen.recipes.options import (
    AdversarialSteps,
    Average,
    BatchSize,
    Condition,
    CriticRate,
    CriticSteps,
    GanLoss,
    Latent,
    Layers,
    LearningRate,
    NonNegative,
    Size,
    Width,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, in_unit_interval, require_images


@register("implicit", "none", "deep convolutional GAN, class-conditional if the data have labels")
def dcgan(
    data: Dataset,
    *,
    latent: Latent = 32,
    width: Width = 32,
    layers: Layers = 0,
    condition: Condition = "auto",
    norm: Annotated[
        Literal["batch", "layer", "none"], Field(description="normalisation after the critic's convolutions")
    ] = "batch",
    r1: Annotated[
        NonNegative, Field(description="γ of R1, which needs `norm=layer` or `none`; 0 for no penalty")
    ] = 0.0,
    critic_steps: CriticSteps = 1,
    critic_rate: CriticRate = 1.0,
    average: Average = 0.999,
    steps: AdversarialSteps = 5000,
    batch_size: BatchSize = 128,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """Strided convolutions with the non-saturating loss. Radford, Metz and Chintala, ICLR 2016."""
    require_images(data, "dcgan")
    if r1 and norm == "batch":
        raise ConfigError(f"r1 requires scores independent of other rows: set norm=layer or norm=none; got r1={r1}")
    model = DCGAN(
        data.shape, latent, width, classes_for(data, condition), unit=in_unit_interval(data), norm=norm, layers=layers
    )
    return adversarial_setup(
        model, data, NonSaturating(), steps, lr, average, optimizer_pair(lr, critic_rate),
        penalty=r1_penalty(r1), critic_steps=critic_steps,
    )  # fmt: skip


@register("implicit", "none", "residual GAN for images, with spectral normalisation of the critic")
def sngan(
    data: Dataset,
    *,
    latent: Latent = 64,
    width: Annotated[Size, Field(description="channels of every block")] = 32,
    condition: Condition = "auto",
    loss: GanLoss = "hinge",
    critic_steps: CriticSteps = 1,
    average: Average = 0.999,
    steps: AdversarialSteps = 5000,
    batch_size: BatchSize = 64,
    lr: LearningRate = 5e-4,
) -> TrainingSetup:
    """Residual networks with a spectrally normalised critic. Miyato et al., ICLR 2018."""
    require_images(data, "sngan")
    model = ResGAN(data.shape, latent, width, classes_for(data, condition), in_unit_interval(data))
    apply_spectral_norm(model.critic)
    return adversarial_setup(model, data, LOSSES[loss](), steps, lr, average, critic_steps=critic_steps)
