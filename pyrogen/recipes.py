"""One plain function per model: its signature is its configuration, its first line its description.

A recipe builds the model for a data set and the step that trains it. A new model needs a file of its own and a
function here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn
from torch.optim import Adam, RMSprop
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pyrogen.data.dataset import Dataset
from pyrogen.data.measure import require
from pyrogen.errors import ConfigError, unknown
from pyrogen.explicit.conditions import Attributes, Condition, Label, PartialImage, observe_quadrants
from pyrogen.explicit.cvae import CVAE
from pyrogen.explicit.gaussian import Gaussian
from pyrogen.explicit.likelihoods import Likelihood, make_likelihood
from pyrogen.explicit.vae import VAE
from pyrogen.implicit.dcgan import DCGAN
from pyrogen.implicit.gan import GAN
from pyrogen.implicit.wgan import WGAN
from pyrogen.infer.adversarial import AdversarialGame, GradientPenalty, Minimax, NonSaturating, Wasserstein
from pyrogen.infer.svi import SVI
from pyrogen.protocols import Step


@dataclass(frozen=True)
class Plan:
    """What a recipe makes.

    Args:
        model: the network, with the capabilities of ``pyrogen.protocols``.
        step: trains it.
        data: the data as this model sees them (a completion model sees a part of the image beside x).
        average: decay of the average of weights that the run ends with; ``None`` keeps the best by validation.
    """

    model: nn.Module
    step: Step
    data: Dataset
    average: float | None = None


def gaussian(
    data: Dataset,
    *,
    covariance: str = "full",
    steps: int = 2000,
    batch_size: int = 256,
    lr: float = 0.03,
) -> Plan:
    """Gaussian density, diagonal or full covariance, by maximum likelihood (exact log-likelihood)."""
    require(data.measure, Gaussian.kind, "a Gaussian")
    x, *_ = data.train.tensors()
    flat = x.flatten(1)
    model = Gaussian(data.shape, covariance, flat.mean(0), flat.std(0).clamp_min(1e-6))
    return Plan(model, SVI(model.model, optim=partial(_adam, lr=lr), schedule=_cosine(steps)), data)


def vae(
    data: Dataset,
    *,
    latent: int = 32,
    hidden: tuple[int, ...] = (512, 512),
    network: str = "mlp",
    likelihood: str = "auto",
    sigma: float | str = "learned",
    steps: int = 16_000,
    batch_size: int = 256,
    lr: float = 3e-3,
) -> Plan:
    """Variational autoencoder, MLP or convolutional (evidence lower bound)."""
    observation = _likelihood(data, likelihood, sigma)
    model = VAE(data.shape, latent, hidden, observation, network, mean=_mean(data))
    return Plan(model, _elbo_step(model, lr, steps), data)


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
) -> Plan:
    """Conditional VAE given a label, attributes or observed quadrants (bound on log p(x))."""
    given: Condition
    if condition == "label":
        if not data.classes:
            raise ConfigError(f"condition=label needs labels, and {data.name!r} has none")
        assert data.train.y is not None
        given = Label(len(data.classes), torch.bincount(data.train.y, minlength=len(data.classes)))
    elif condition == "attributes":
        y = data.train.y
        if y is None or y.ndim != 2:
            raise ConfigError(f"condition=attributes needs y of shape (n, attributes) beside x in {data.name!r}")
        given = Attributes(y.shape[1])
    elif condition == "quadrants":
        if not data.is_image:
            raise ConfigError(f"condition=quadrants needs images; {data.name!r} has data of shape {data.shape}")
        given = PartialImage(data.shape)
        data = data.with_side(partial(_quadrants, observed=observed))
    else:
        raise unknown("condition", condition, ("label", "attributes", "quadrants"))
    observation = _likelihood(data, likelihood, sigma)
    model = CVAE(data.shape, given, latent, hidden, observation, prior, mean=_mean(data))
    return Plan(model, _elbo_step(model, lr, steps), data)


def gan(
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
) -> Plan:
    """Generative adversarial network with fully connected players (implicit: samples only)."""
    losses = {"minimax": Minimax, "non_saturating": NonSaturating}
    if loss not in losses:
        raise unknown("loss", loss, losses)
    model = GAN(data.shape, latent, hidden, unit=_unit(data))
    optim = partial(Adam, lr=lr, betas=(0.0, 0.9))
    step = AdversarialGame(
        model.generator,
        model.critic,
        model.prior,
        losses[loss](),
        optim,
        critic_steps=critic_steps,
        schedule=_cosine(steps),
    )
    return Plan(model, step, data, average)


def dcgan(
    data: Dataset,
    *,
    latent: int = 32,
    width: int = 32,
    condition: str = "auto",
    critic_steps: int = 1,
    average: float = 0.999,
    steps: int = 5000,
    batch_size: int = 128,
    lr: float = 1e-3,
) -> Plan:
    """Deep convolutional GAN for images, given the label where there is one (implicit: samples only)."""
    if not data.is_image:
        raise ConfigError(f"dcgan needs images; {data.name!r} has data of shape {data.shape}")
    if condition not in ("auto", "label", "none"):
        raise unknown("condition", condition, ("auto", "label", "none"))
    if condition == "label" and not data.classes:
        raise ConfigError(f"condition=label needs labels, and {data.name!r} has none")
    classes = 0 if condition == "none" else len(data.classes)
    model = DCGAN(data.shape, latent, width, classes, unit=_unit(data))
    optim = partial(Adam, lr=lr, betas=(0.0, 0.9))
    step = AdversarialGame(
        model.generator,
        model.critic,
        model.prior,
        NonSaturating(),
        optim,
        critic_steps=critic_steps,
        schedule=_cosine(steps),
    )
    return Plan(model, step, data, average)


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
    average: float = 0.998,
    steps: int = 10_000,
    batch_size: int = 128,
    lr: float = 1e-3,
) -> Plan:
    """Wasserstein GAN, critic clipped or with gradient penalty (implicit: samples only)."""
    if lipschitz not in ("clip", "penalty"):
        raise unknown("lipschitz", lipschitz, ("clip", "penalty"))
    if network == "conv" and not data.is_image:
        raise ConfigError(f"network=conv needs images; {data.name!r} has data of shape {data.shape}")
    model = WGAN(data.shape, latent, hidden, network, unit=_unit(data))
    clipped = lipschitz == "clip"
    step = AdversarialGame(
        model.generator,
        model.critic,
        model.prior,
        Wasserstein(),
        partial(RMSprop, lr=lr) if clipped else partial(Adam, lr=lr, betas=(0.0, 0.9)),
        critic_steps=critic_steps,
        clip=clip if clipped else None,
        schedule=_cosine(steps),
        penalty=None if clipped else GradientPenalty(penalty),
    )
    return Plan(model, step, data, average)


Recipe = Callable[..., Plan]
RECIPES: dict[str, Recipe] = {f.__name__: f for f in (gaussian, vae, cvae, gan, dcgan, wgan)}
IMPLICIT = frozenset({"gan", "dcgan", "wgan"})


def recipe(name: str) -> Recipe:
    """The recipe called ``name``; raises ``ConfigError`` with the nearest name."""
    if name not in RECIPES:
        raise unknown("model", name, RECIPES)
    return RECIPES[name]


def describe(name: str) -> str:
    """What a recipe makes, in one line."""
    return (recipe(name).__doc__ or "").partition("\n")[0]


def _adam(parameters: Any, lr: float) -> Adam:
    return Adam(parameters, lr=lr, fused=True)


def _elbo_step(model: Any, lr: float, steps: int) -> SVI:
    optim = partial(_adam, lr=lr)
    return SVI(model.model, model.guide, optim, TraceMeanField_ELBO(), schedule=_cosine(steps))


def _cosine(steps: int, warmup: int = 200) -> Callable[[Any], LRScheduler]:
    """A short linear warm-up, then half a cosine down to zero at the last step."""
    warmup = min(warmup, steps // 10 + 1)

    def factor(t: int) -> float:
        done = min(t / max(steps, 1), 1.0)
        return min(1.0, (t + 1) / warmup) * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * done)).item())

    return partial(LambdaLR, lr_lambda=factor)


def _likelihood(data: Dataset, name: str, sigma: float | str) -> Likelihood:
    if name == "auto":
        name = {"binary": "bernoulli", "unit": "gaussian"}.get(data.measure.space, "gaussian")
        if data.measure.space == "unit" and data.measure.levels:
            name = "discretized_logistic"
    unit = data.measure.space == "unit"
    if name == "discretized_logistic" and not (unit and data.measure.levels):
        raise ConfigError(
            f"the discretized_logistic likelihood wants dequantised grey levels; {data.name!r} is a {data.measure}"
        )
    chosen = make_likelihood(name, data.measure.levels, sigma, unit)  # type: ignore[arg-type]
    require(data.measure, chosen.kind, f"the {name} likelihood")
    return chosen


def _mean(data: Dataset) -> Tensor:
    x, *_ = data.train.tensors()
    return x.mean(0)


def _unit(data: Dataset) -> bool:
    return data.measure.space in ("unit", "binary")


def _quadrants(x: Tensor, y: Tensor | None, observed: int) -> Tensor:
    return observe_quadrants(x, observed)
