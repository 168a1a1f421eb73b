"""Recipes of latent-variable models: Pyro pairs trained by an evidence lower bound."""

from functools import partial

from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError, unknown
from pyrogen.explicit.cvae import CVAE
from pyrogen.explicit.ladder import LadderVAE
from pyrogen.explicit.posteriors import FlowPosterior
from pyrogen.explicit.priors import VampPrior
from pyrogen.explicit.vae import VAE
from pyrogen.explicit.vqvae import VQVAE, VQVAE2
from pyrogen.nn.conditions import Attributes, Condition, Label, PartialImage, observe_quadrants
from pyrogen.objectives.elbo import IWAE, BetaELBO, FreeBits, Objective, Warmup
from pyrogen.recipes.setup import (
    TrainingSetup,
    descent,
    label_counts,
    mean_of,
    observation_model,
    require_images,
    require_labels,
    svi,
)


def vae(
    data: Dataset,
    *,
    latent: int = 32,
    hidden: tuple[int, ...] = (512, 512),
    network: str = "mlp",
    prior: str = "normal",
    components: int = 100,
    posterior: str = "normal",
    flows: int = 4,
    likelihood: str = "auto",
    sigma: float | str = "learned",
    beta: float = 1.0,
    warmup: int = 0,
    free_bits: float = 0.0,
    k: int = 1,
    steps: int = 16_000,
    batch_size: int = 256,
    lr: float = 3e-3,
) -> TrainingSetup:
    """Variational autoencoder, MLP or convolutional (evidence lower bound)."""
    if prior not in ("normal", "vamp"):
        raise unknown("prior", prior, ("normal", "vamp"))
    if posterior not in ("normal", "planar", "iaf"):
        raise unknown("posterior", posterior, ("normal", "planar", "iaf"))
    model = VAE(
        data.shape,
        latent,
        hidden,
        observation_model(data, likelihood, sigma),
        network,
        mean_of(data),
        VampPrior(_some(data, components)) if prior == "vamp" else None,
        None if posterior == "normal" else FlowPosterior(latent, posterior, flows),
    )
    return TrainingSetup(model, svi(model, lr, steps, loss=objective(beta, warmup, free_bits, k)), data)


def iwae(
    data: Dataset,
    *,
    k: int = 10,
    latent: int = 50,
    hidden: tuple[int, ...] = (200, 200),
    network: str = "mlp",
    likelihood: str = "auto",
    sigma: float | str = "learned",
    steps: int = 16_000,
    batch_size: int = 64,
    lr: float = 2e-3,
) -> TrainingSetup:
    """Importance-weighted autoencoder: a VAE trained by the bound of k samples (lower bound)."""
    model = VAE(data.shape, latent, hidden, observation_model(data, likelihood, sigma), network, mean_of(data))
    return TrainingSetup(model, svi(model, lr, steps, loss=IWAE(k)), data)


def ladder_vae(
    data: Dataset,
    *,
    latents: tuple[int, ...] = (32, 16),
    hidden: tuple[int, ...] = (512, 256),
    merge: bool = True,
    likelihood: str = "auto",
    sigma: float | str = "learned",
    beta: float = 1.0,
    warmup: int = 2000,
    free_bits: float = 0.0,
    k: int = 1,
    steps: int = 16_000,
    batch_size: int = 256,
    lr: float = 3e-3,
) -> TrainingSetup:
    """Ladder VAE: layers of latent variables, inferred from the top down (evidence lower bound)."""
    observation = observation_model(data, likelihood, sigma)
    model = LadderVAE(data.shape, latents, hidden, observation, mean_of(data), merge)
    return TrainingSetup(model, svi(model, lr, steps, loss=objective(beta, warmup, free_bits, k)), data)


def vqvae(
    data: Dataset,
    *,
    codes: int = 512,
    dim: int = 32,
    width: int = 32,
    ema: bool = True,
    prior_width: int = 64,
    likelihood: str = "auto",
    sigma: float | str = "learned",
    steps: int = 5000,
    batch_size: int = 64,
    lr: float = 2e-3,
) -> TrainingSetup:
    """Vector-quantised VAE of images, with a learned prior of its codes (lower bound)."""
    return _quantised(VQVAE, data, codes, dim, width, ema, prior_width, likelihood, sigma, steps, lr)


def vqvae2(
    data: Dataset,
    *,
    codes: int = 512,
    dim: int = 32,
    width: int = 32,
    ema: bool = True,
    prior_width: int = 64,
    likelihood: str = "auto",
    sigma: float | str = "learned",
    steps: int = 5000,
    batch_size: int = 64,
    lr: float = 2e-3,
) -> TrainingSetup:
    """VQ-VAE-2: codes on two levels, the bottom given the top (lower bound)."""
    return _quantised(VQVAE2, data, codes, dim, width, ema, prior_width, likelihood, sigma, steps, lr)


def _quantised(
    make: type[VQVAE],
    data: Dataset,
    codes: int,
    dim: int,
    width: int,
    ema: bool,
    prior_width: int,
    likelihood: str,
    sigma: float | str,
    steps: int,
    lr: float,
) -> TrainingSetup:
    require_images(data, "a vector-quantised VAE")
    observation = observation_model(data, likelihood, sigma)
    model = make(data.shape, codes, dim, width, observation, mean_of(data), ema, prior_width)
    vectors = len(data.train) * model.positions
    if codes > vectors:
        raise ConfigError(f"a codebook of {codes} is larger than the data, which fill {vectors} places")
    # Codes that tie are told apart by the last bit, so a compiled step would take other ones.
    return TrainingSetup(model, descent(model, lr, steps, compile=False), data)


def objective(beta: float, warmup: int, free_bits: float, k: int) -> Objective:
    """The objective that the options of a recipe name.

    Raises:
        ConfigError: if they name more than one.
    """
    named = {"k": k > 1, "free_bits": free_bits > 0, "beta or warmup": beta != 1 or warmup > 0}
    chosen = [name for name, is_set in named.items() if is_set]
    if len(chosen) > 1:
        raise ConfigError(f"{chosen[0]} and {chosen[1]} name different objectives: set one of them")
    if k != 1:
        return IWAE(k)
    if free_bits:
        return FreeBits(free_bits)
    return BetaELBO(Warmup(warmup, beta) if warmup else beta)


def _some(data: Dataset, n: int) -> Tensor:
    """Up to ``n`` training data, spread over the split."""
    x, *_ = data.train.tensors()
    return x[:: max(len(x) // max(n, 1), 1)][:n]


def cvae(
    data: Dataset,
    *,
    condition: str = "label",
    observed: int = 1,
    prior: str = "learned",
    latent: int = 32,
    hidden: tuple[int, ...] = (512, 512),
    likelihood: str = "auto",
    sigma: float | str = "learned",
    steps: int = 12_000,
    batch_size: int = 256,
    lr: float = 3e-3,
) -> TrainingSetup:
    """Conditional VAE given a label, attributes or observed quadrants (bound on log p(x))."""
    given: Condition
    if condition == "label":
        require_labels(data, "condition=label")
        given = Label(len(data.classes), label_counts(data))
    elif condition == "attributes":
        y = data.train.y
        if y is None or y.ndim != 2:
            raise ConfigError(f"condition=attributes needs y of shape (n, attributes) beside x in {data.name!r}")
        given = Attributes(y.shape[1])
    elif condition == "quadrants":
        require_images(data, "condition=quadrants")
        given = PartialImage(data.shape)
        data = data.with_side(partial(_quadrants, observed=observed))
    else:
        raise unknown("condition", condition, ("label", "attributes", "quadrants"))
    observation = observation_model(data, likelihood, sigma)
    model = CVAE(data.shape, given, latent, hidden, observation, prior, mean=mean_of(data))
    return TrainingSetup(model, svi(model, lr, steps, loss=BetaELBO()), data)


def _quadrants(x: Tensor, y: Tensor | None, observed: int) -> Tensor:
    return observe_quadrants(x, observed)
