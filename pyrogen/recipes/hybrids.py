"""Recipes of hybrids: autoencoders that learn from a critic as well."""

from functools import partial

from torch.optim import Adam

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, unknown
from pyrogen.hybrid.aae import AAE
from pyrogen.hybrid.vaegan import VAEGAN
from pyrogen.nn.conditions import Label
from pyrogen.objectives.penalties import R1Penalty
from pyrogen.recipes.setup import (
    TrainingSetup,
    cosine,
    in_unit_box,
    label_counts,
    network_for,
    no_momentum,
    observation_model,
    require_labels,
    svi,
)
from pyrogen.steps.adversarial import AdversarialGame
from pyrogen.steps.sequential import LatentAdversarialStep, SequentialSteps
from pyrogen.steps.svi import SVI


def aae(
    data: Dataset,
    *,
    latent: int = 8,
    hidden: tuple[int, ...] = (512, 512),
    network: str = "mlp",
    prior: str = "normal",
    likelihood: str = "auto",
    sigma: float | str = "learned",
    r1: float = 1.0,
    average: float = 0.998,
    steps: int = 10_000,
    batch_size: int = 256,
    lr: float = 1e-3,
) -> TrainingSetup:
    """Adversarial autoencoder, its codes matched to a normal or a mixture by label (implicit: samples only)."""
    if prior not in ("normal", "label"):
        raise unknown("prior", prior, ("normal", "label"))
    if prior == "label":
        require_labels(data, "prior=label")
    classes = len(data.classes) if prior == "label" else 0
    model = AAE(data.shape, latent, hidden, observation_model(data, likelihood, sigma), network, classes)
    if isinstance(model.condition, Label):
        model.condition.set_frequencies(label_counts(data))
    fit = SVI(model.reconstruction, optim=partial(Adam, lr=lr), schedule=cosine(steps))
    rules = {"optim": no_momentum(2 * lr), "penalty": R1Penalty(r1), "schedule": cosine(steps)}
    game = LatentAdversarialStep(model.encoder, model.critic, model.prior, **rules)
    return TrainingSetup(model, SequentialSteps(reconstruction=fit, game=game), data, average)


def vaegan(
    data: Dataset,
    *,
    latent: int = 32,
    hidden: tuple[int, ...] = (256, 256),
    width: int = 32,
    network: str = "auto",
    features: int = 64,
    sigma: float = 0.3,
    average: float = 0.998,
    steps: int = 6000,
    batch_size: int = 128,
    lr: float = 1e-3,
) -> TrainingSetup:
    """VAE/GAN: likeness measured in the features of a critic (implicit: samples only)."""
    if sigma <= 0:
        raise ConfigError(f"sigma must be positive; got {sigma}")
    if not in_unit_box(data):
        raise ConfigError(f"vaegan needs data in [0, 1]; {data.name!r} is a {data.space}")
    kind = network_for(data, network)
    model = VAEGAN(data.shape, latent, (width,) if kind == "conv" else hidden, kind, features, sigma)
    fit = svi(model.pair, lr, steps)
    # The critic moves slowly: its features are what likeness is measured in.
    game = AdversarialGame(
        model.generator, model.critic, model.prior, optim=no_momentum(lr / 5), schedule=cosine(steps)
    )
    return TrainingSetup(model, SequentialSteps(similarity=fit, game=game), data, average)
