"""Recipes of hybrids: autoencoders that learn from a critic as well."""

from functools import partial

from torch.optim import Adam

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, unknown
from pyrogen.hybrid.aae import AAE
from pyrogen.hybrid.vaegan import VAEGAN
from pyrogen.infer.adversarial import AdversarialGame
from pyrogen.infer.lipschitz import ZeroPenalty
from pyrogen.infer.svi import SVI
from pyrogen.infer.turns import CodeGame, InTurn
from pyrogen.recipes.plan import Plan, cosine, in_unit_box, observation_model


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
) -> Plan:
    """Adversarial autoencoder, its codes matched to a normal or a mixture by label (implicit: samples only)."""
    if prior not in ("normal", "label"):
        raise unknown("prior", prior, ("normal", "label"))
    if prior == "label" and not data.classes:
        raise ConfigError(f"prior=label needs labels, and {data.name!r} has none")
    classes = len(data.classes) if prior == "label" else 0
    model = AAE(data.shape, latent, hidden, observation_model(data, likelihood, sigma), network, classes)
    fit = SVI(model.reconstruction, optim=partial(Adam, lr=lr), schedule=cosine(steps))
    optim = partial(Adam, lr=2 * lr, betas=(0.0, 0.9))
    game = CodeGame(
        model.encoder, model.critic, model.prior, optim=optim, penalty=ZeroPenalty(r1), schedule=cosine(steps)
    )
    return Plan(model, InTurn(reconstruction=fit, game=game), data, average)


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
) -> Plan:
    """VAE/GAN: likeness measured in the features of a critic (implicit: samples only)."""
    if sigma <= 0:
        raise ConfigError(f"sigma must be positive; got {sigma}")
    if not in_unit_box(data):
        raise ConfigError(f"vaegan needs data in [0, 1]; {data.name!r} is a {data.measure}")
    if network not in ("auto", "mlp", "conv"):
        raise unknown("network", network, ("auto", "mlp", "conv"))
    kind = ("conv" if data.is_image else "mlp") if network == "auto" else network
    model = VAEGAN(data.shape, latent, (width,) if kind == "conv" else hidden, kind, features, sigma)
    fit = SVI(model.pair.model, model.pair.guide, partial(Adam, lr=lr), schedule=cosine(steps))
    # The critic moves slowly: its features are what likeness is measured in.
    optim = partial(Adam, lr=lr / 5, betas=(0.0, 0.9))
    game = AdversarialGame(model.generator, model.critic, model.prior, optim=optim, schedule=cosine(steps))
    return Plan(model, InTurn(similarity=fit, game=game), data, average)
