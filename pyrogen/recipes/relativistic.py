"""The recipe of the relativistic GAN."""

from typing import Annotated

from pydantic import Field

from pyrogen.data.dataset import Dataset
from pyrogen.implicit.base import Adversarial
from pyrogen.implicit.dcgan import DCGAN
from pyrogen.implicit.gan import GAN
from pyrogen.objectives.adversarial import Relativistic
from pyrogen.recipes.adversarial import adversarial_setup, optimizer_pair, r1_penalty, r1_schedule
from pyrogen.recipes.options import (
    AdversarialSteps,
    AnyNetwork,
    Average,
    BatchSize,
    Binary,
    CriticRate,
    CriticSteps,
    Hidden,
    Latent,
    Layers,
    LearningRate,
    NonNegative,
    R1Start,
    Width,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, in_unit_interval, network_for


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
