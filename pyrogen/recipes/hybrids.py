"""Recipes of hybrids: autoencoders and flows trained with a critic."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch.optim import Adam

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.hybrid.aae import AAE
from pyrogen.hybrid.flowgan import FlowGAN
from pyrogen.hybrid.vaegan import VAEGAN
from pyrogen.implicit.mlp import MLPCritic
from pyrogen.nn.conditions import Label
from pyrogen.objectives.adversarial import Wasserstein
from pyrogen.objectives.penalties import GradientPenalty, LikelihoodPenalty, R1Penalty
from pyrogen.recipes.adversarial import adversarial_setup
from pyrogen.recipes.flows import CouplingHidden, CouplingLayers, CouplingNetwork, Scale, coupling_flow
from pyrogen.recipes.options import (
    AdversarialSteps,
    AnyNetwork,
    Average,
    BatchSize,
    ConvWidth,
    CriticSteps,
    EncoderHidden,
    JointSteps,
    Latent,
    LearningRate,
    MLPHidden,
    Network,
    NonNegative,
    Observation,
    Positive,
    Sigma,
    Size,
    Widths,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import (
    TrainingSetup,
    adam_without_momentum,
    cosine_schedule,
    in_unit_interval,
    label_counts,
    network_for,
    observation_model,
    require_labels,
    svi,
)
from pyrogen.steps.adversarial import AdversarialGame
from pyrogen.steps.sequential import LatentAdversarialStep, SequentialSteps
from pyrogen.steps.svi import SVI


@register("implicit", "none", "adversarial autoencoder: a critic matches the codes to a prior")
def aae(
    data: Dataset,
    *,
    latent: Annotated[
        Size | Literal["auto"],
        Field(description="dimension of z; `auto`: 8, or the dimension of the data if that is less"),
    ] = "auto",
    hidden: EncoderHidden = (512, 512),
    network: Network = "mlp",
    prior: Annotated[
        Literal["normal", "label"], Field(description="`normal` for N(0, I), or `label` for a mixture by class")
    ] = "normal",
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    r1: Annotated[NonNegative, Field(description="γ of R1 on the critic of codes, at prior samples")] = 1.0,
    average: Average = 0.998,
    steps: JointSteps = 10_000,
    batch_size: BatchSize = 256,
    lr: Annotated[
        LearningRate, Field(description="learning rate of the reconstruction; twice that in the adversarial step")
    ] = 1e-3,
) -> TrainingSetup:
    """Makhzani et al., 2015."""
    if prior == "label":
        require_labels(data, "prior=label")
    classes = len(data.classes) if prior == "label" else 0
    width = min(8, data.dims) if isinstance(latent, str) else latent
    model = AAE(data.shape, width, hidden, observation_model(data, likelihood, sigma), network, classes)
    if isinstance(model.condition, Label):
        model.condition.set_frequencies(label_counts(data))
    fit = SVI(model.reconstruction, optim=partial(Adam, lr=lr), schedule=cosine_schedule(steps))
    rules = {"optim": adam_without_momentum(2 * lr), "penalty": R1Penalty(r1), "schedule": cosine_schedule(steps)}
    game = LatentAdversarialStep(model.encoder, model.critic, model.prior, **rules)
    return TrainingSetup(model, SequentialSteps(reconstruction=fit, game=game), data, average)


@register("implicit", "none", "VAE/GAN: reconstruction error measured in critic features")
def vaegan(
    data: Dataset,
    *,
    latent: Latent = 32,
    hidden: MLPHidden = (256, 256),
    width: ConvWidth = 32,
    network: AnyNetwork = "auto",
    features: Annotated[Size, Field(description="critic features in which the reconstruction error is measured")] = 64,
    sigma: Annotated[
        Positive, Field(description="σ of the features, relative to their deviation; smaller reconstructs better")
    ] = 0.3,
    average: Average = 0.998,
    steps: JointSteps = 6000,
    batch_size: BatchSize = 128,
    lr: Annotated[
        LearningRate, Field(description="learning rate of the VAE; a fifth of it in the adversarial step")
    ] = 1e-3,
) -> TrainingSetup:
    """Larsen et al., ICML 2016."""
    if not in_unit_interval(data):
        raise ConfigError(f"vaegan needs data in [0, 1]; {data.name!r} is a {data.space}")
    kind = network_for(data, network)
    model = VAEGAN(data.shape, latent, (width,) if kind == "conv" else hidden, kind, features, sigma)
    fit = svi(model.pair, lr, steps)
    # The critic's learning rate is low, because its features define the reconstruction error.
    game = AdversarialGame(
        model.generator, model.critic, model.prior, optim=adam_without_momentum(lr / 5), schedule=cosine_schedule(steps)
    )
    return TrainingSetup(model, SequentialSteps(similarity=fit, game=game), data, average)


LikelihoodWeight = Annotated[
    NonNegative, Field(description="λ, weight of minus the log-likelihood in nats per datum; 0 for the critic alone")
]


@register("explicit", "exact", "affine coupling flow trained by a critic, its likelihood, or both")
def flow_gan(
    data: Dataset,
    *,
    layers: CouplingLayers = 6,
    hidden: CouplingHidden = (128, 128),
    network: CouplingNetwork = "mlp",
    scale: Scale = True,
    weight: LikelihoodWeight = 1.0,
    critic: Annotated[Widths, Field(description="widths of the critic's hidden layers")] = (256, 256),
    penalty: Annotated[Positive, Field(description="λ of the gradient penalty of the critic")] = 10.0,
    critic_steps: CriticSteps = 2,
    average: Average = 0.998,
    steps: AdversarialSteps = 10_000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 1e-3,
) -> TrainingSetup:
    """Wasserstein loss with gradient penalty, plus the likelihood. Grover, Dhar and Ermon, AAAI 2018."""
    model = FlowGAN(coupling_flow(data, layers, hidden, network, scale), MLPCritic(data.shape, critic))
    return adversarial_setup(
        model, data, Wasserstein(), steps, lr, average,
        penalty=GradientPenalty(penalty),
        generator_penalty=LikelihoodPenalty(weight) if weight else None,
        critic_steps=critic_steps,
    )  # fmt: skip
