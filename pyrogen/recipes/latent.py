"""Recipes of latent-variable models: Pyro pairs trained by an evidence lower bound."""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.explicit.cvae import CVAE
from pyrogen.explicit.ladder import LadderVAE
from pyrogen.explicit.posteriors import FlowPosterior
from pyrogen.explicit.priors import VampPrior
from pyrogen.explicit.vae import VAE
from pyrogen.explicit.vqvae import VQVAE, VQVAE2
from pyrogen.nn.conditions import Attributes, Condition, PartialImage, observe_quadrants
from pyrogen.objectives.elbo import IWAE, BetaELBO, FreeBits, Objective, Warmup
from pyrogen.recipes.options import (
    BatchSize,
    Beta,
    CodebookAverages,
    CodeDimension,
    Codes,
    ConvChannels,
    Count,
    EncoderHidden,
    FreeNats,
    KLWarmup,
    Latent,
    LearningRate,
    Network,
    Observation,
    Particles,
    PriorWidth,
    Sigma,
    Size,
    Steps,
    Widths,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import (
    TrainingSetup,
    data_mean,
    gradient_step,
    initial_value,
    observation_model,
    pair_step,
    require_images,
    training_label,
)


@register("explicit", "lower bound", "variational autoencoder, fully connected or convolutional")
def vae(
    data: Dataset,
    *,
    latent: Latent = 32,
    hidden: EncoderHidden = (512, 512),
    network: Network = "mlp",
    prior: Annotated[Literal["normal", "vamp"], Field(description="`normal` for N(0, I), or `vamp`")] = "normal",
    components: Annotated[Size, Field(description="K, pseudo-inputs of the `vamp` prior")] = 100,
    posterior: Annotated[Literal["normal", "planar", "iaf"], Field(description="family of q(z | x)")] = "normal",
    flows: Annotated[Count, Field(description="flow layers of a `planar` or `iaf` posterior")] = 4,
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    beta: Beta = 1.0,
    warmup: KLWarmup = 0,
    free_bits: FreeNats = 0.0,
    k: Particles = 1,
    steps: Steps = 16_000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 3e-3,
) -> TrainingSetup:
    """Kingma and Welling, ICLR 2014; ``beta``, ``warmup``, ``free_bits`` or ``k`` selects the objective."""
    inputs = None
    if prior == "vamp":
        inputs = initial_value(data, partial(_subset, n=components), (components, *data.shape))
    model = VAE(
        data.shape,
        latent,
        hidden,
        observation_model(data, likelihood, sigma),
        network,
        data_mean(data),
        None if inputs is None else VampPrior(inputs),
        None if posterior == "normal" else FlowPosterior(latent, posterior, flows),
    )
    chosen = {} if inputs is None else {"components": len(inputs)}
    loss = objective(beta, warmup, free_bits, k)
    return TrainingSetup(model, pair_step(model, data, lr, steps, loss=loss), data, chosen=chosen)


@register("explicit", "lower bound", "VAE trained with the importance-weighted bound of k samples")
def iwae(
    data: Dataset,
    *,
    k: Particles = 10,
    latent: Latent = 50,
    hidden: EncoderHidden = (200, 200),
    network: Network = "mlp",
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    steps: Steps = 16_000,
    batch_size: Annotated[BatchSize, Field(description="rows per batch; the decoder processes k times as many")] = 64,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Burda, Grosse and Salakhutdinov, ICLR 2016."""
    model = VAE(data.shape, latent, hidden, observation_model(data, likelihood, sigma), network, data_mean(data))
    return TrainingSetup(model, pair_step(model, data, lr, steps, loss=IWAE(k)), data)


@register("explicit", "lower bound", "hierarchical VAE with top-down inference")
def ladder_vae(
    data: Dataset,
    *,
    latents: Annotated[Widths, Field(description="dimensions of z₁ … z_L")] = (32, 16),
    hidden: Annotated[Widths, Field(description="width of each layer's network")] = (512, 256),
    merge: Annotated[
        bool, Field(description="`true`: the posterior includes the prior; `false`: inferred from the data alone")
    ] = True,
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    beta: Beta = 1.0,
    warmup: KLWarmup = 2000,
    free_bits: FreeNats = 0.0,
    k: Particles = 1,
    steps: Steps = 16_000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 3e-3,
) -> TrainingSetup:
    """Sønderby et al., NeurIPS 2016."""
    observation = observation_model(data, likelihood, sigma)
    model = LadderVAE(data.shape, latents, hidden, observation, data_mean(data), merge)
    return TrainingSetup(model, pair_step(model, data, lr, steps, loss=objective(beta, warmup, free_bits, k)), data)


@register("explicit", "lower bound", "vector-quantised VAE of images with a learned prior over the codes")
def vqvae(
    data: Dataset,
    *,
    codes: Codes = 512,
    dim: CodeDimension = 32,
    width: ConvChannels = 32,
    ema: CodebookAverages = True,
    prior_width: PriorWidth = 64,
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    steps: Steps = 5000,
    batch_size: BatchSize = 64,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Van den Oord, Vinyals and Kavukcuoglu, NeurIPS 2017."""
    return _vector_quantised(VQVAE, data, codes, dim, width, ema, prior_width, likelihood, sigma, steps, lr)


@register("explicit", "lower bound", "VQ-VAE-2 with two levels of codes")
def vqvae2(
    data: Dataset,
    *,
    codes: Codes = 512,
    dim: CodeDimension = 32,
    width: ConvChannels = 32,
    ema: CodebookAverages = True,
    prior_width: PriorWidth = 64,
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    steps: Steps = 5000,
    batch_size: BatchSize = 64,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Razavi, van den Oord and Vinyals, NeurIPS 2019."""
    return _vector_quantised(VQVAE2, data, codes, dim, width, ema, prior_width, likelihood, sigma, steps, lr)


def _vector_quantised(
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
    model = make(data.shape, codes, dim, width, observation, data_mean(data), ema, prior_width)
    vectors = len(data.train) * model.positions
    if codes > vectors:
        raise ConfigError(f"{codes} codes exceed the {vectors} grid positions of the training data")
    # Ties between codes are broken by rounding errors, so a compiled step would select other codes.
    return TrainingSetup(model, gradient_step(model, lr, steps, compile=False), data)


def objective(beta: float, warmup: int, free_bits: float, k: int) -> Objective:
    """The objective that the options of a recipe select.

    Raises:
        ConfigError: if they select more than one.
    """
    named = {"k": k > 1, "free_bits": free_bits > 0, "beta or warmup": beta != 1 or warmup > 0}
    chosen = [name for name, is_set in named.items() if is_set]
    if len(chosen) > 1:
        raise ConfigError(f"{chosen[0]} and {chosen[1]} select different objectives: set one of them")
    if k != 1:
        return IWAE(k)
    if free_bits:
        return FreeBits(free_bits)
    return BetaELBO(Warmup(warmup, beta) if warmup else beta)


def _subset(x: Tensor, n: int) -> Tensor:
    """Up to ``n`` data, equally spaced."""
    return x[:: max(len(x) // n, 1)][:n]


@register("explicit", "lower bound", "conditional VAE given a label, attributes or part of the image")
def cvae(
    data: Dataset,
    *,
    condition: Annotated[Literal["label", "attributes", "quadrants"], Field(description="side information")] = "label",
    observed: Annotated[int, Field(ge=1, le=3, description="number of observed quadrants, for `quadrants`")] = 1,
    prior: Annotated[
        Literal["learned", "standard"],
        Field(description="`learned` for p(z | y) with its own network, `standard` for N(0, I)"),
    ] = "learned",
    latent: Latent = 32,
    hidden: Annotated[
        Widths,
        Field(
            description="widths of the encoder's hidden layers, reversed for the decoder; the last is that of the "
            "prior's network"
        ),
    ] = (512, 512),
    likelihood: Observation = "auto",
    sigma: Sigma = "learned",
    steps: Steps = 12_000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 3e-3,
) -> TrainingSetup:
    """Sohn, Lee and Yan, NeurIPS 2015."""
    given: Condition
    if condition == "label":
        given = training_label(data)
    elif condition == "attributes":
        if not data.description.attributes:
            y = data.train.y
            shape = "no y" if y is None else f"y of shape {tuple(y.shape)}"
            raise ConfigError(f"condition=attributes needs y of shape (n, attributes); {data.name!r} has {shape}")
        given = Attributes(data.description.attributes)
    else:
        require_images(data, "condition=quadrants")
        given = PartialImage(data.shape)
        data = data.with_side_information(partial(_quadrants, observed=observed))
    observation = observation_model(data, likelihood, sigma)
    model = CVAE(data.shape, given, latent, hidden, observation, prior, mean=data_mean(data))
    return TrainingSetup(model, pair_step(model, data, lr, steps, loss=BetaELBO()), data)


def _quadrants(x: Tensor, y: Tensor | None, observed: int) -> Tensor:
    return observe_quadrants(x, observed)
