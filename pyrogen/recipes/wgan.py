"""Recipes of Wasserstein GANs."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch.optim import RMSprop

from pyrogen.data.dataset import Dataset
from pyrogen.implicit.wgan import WGAN
from pyrogen.objectives.adversarial import Wasserstein
from pyrogen.objectives.penalties import GradientPenalty
from pyrogen.recipes.adversarial import adversarial_setup
from pyrogen.recipes.options import (
    AdversarialSteps,
    AnyNetwork,
    Average,
    BatchSize,
    Binary,
    ConvLayers,
    ConvWidth,
    CriticSteps,
    Latent,
    LearningRate,
    MLPHidden,
    Network,
    Positive,
    Widths,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import TrainingSetup, in_unit_interval, network_for, require_images
from pyrogen.steps.adversarial import wgan_critic_schedule


@register("implicit", "none", "Wasserstein GAN, with weight clipping or a gradient penalty")
def wgan(
    data: Dataset,
    *,
    latent: Latent = 64,
    hidden: Annotated[
        Widths,
        Field(
            description="widths of the generator's hidden layers, reversed for the critic; for `conv`, the first is "
            "the number of channels at the image side"
        ),
    ] = (256, 256),
    network: Network = "mlp",
    lipschitz: Annotated[
        Literal["clip", "penalty"], Field(description="constraint of the critic: weight clipping or gradient penalty")
    ] = "clip",
    clip: Annotated[Positive, Field(description="τ, the bound on every weight of the critic, for `clip`")] = 0.02,
    penalty: Annotated[Positive, Field(description="λ, weight of the gradient penalty, for `penalty`")] = 10.0,
    critic_steps: CriticSteps = 2,
    bursts: Annotated[
        bool,
        Field(
            description="the paper's schedule: 100 critic updates for each of the generator's first 25 updates and "
            "for every 500th"
        ),
    ] = False,
    average: Average = 0.998,
    steps: AdversarialSteps = 10_000,
    batch_size: BatchSize = 128,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """RMSprop for a clipped critic, Adam for one with a gradient penalty. Arjovsky, Chintala and Bottou, ICML 2017."""
    if network == "conv":
        require_images(data, "network=conv")
    model = WGAN(data.shape, latent, hidden, network, in_unit_interval(data))
    clipped = lipschitz == "clip"
    return adversarial_setup(
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


@register("implicit", "none", "Wasserstein GAN with gradient penalty")
def wgan_gp(
    data: Dataset,
    *,
    latent: Latent = 64,
    n_binary: Binary = 0,
    hidden: MLPHidden = (128, 128, 128),
    width: ConvWidth = 32,
    layers: ConvLayers = 0,
    network: AnyNetwork = "auto",
    penalty: Annotated[Positive, Field(description="λ, weight of the gradient penalty")] = 1.0,
    critic_steps: CriticSteps = 2,
    average: Average = 0.998,
    steps: AdversarialSteps = 10_000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """The gradient penalty is on standardised real data. Gulrajani et al., NeurIPS 2017."""
    kind = network_for(data, network)
    shape, unit = data.shape, in_unit_interval(data)
    model = WGAN(shape, latent, (width,) if kind == "conv" else hidden, kind, unit, n_binary, layers)
    rule = GradientPenalty(penalty)
    return adversarial_setup(model, data, Wasserstein(), steps, lr, average, penalty=rule, critic_steps=critic_steps)
