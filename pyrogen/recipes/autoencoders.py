"""Recipes of deterministic autoencoders, which have codes and reconstructions but no density and no samples."""

from typing import Annotated, Literal

from pydantic import Field

from pyrogen.data.dataset import Dataset
from pyrogen.recipes.options import (
    BatchSize,
    Code,
    InputNoise,
    Integers,
    LearningRate,
    LoggedBatch,
    OneStep,
    Size,
    Steps,
)
from pyrogen.recipes.registry import register
from pyrogen.recipes.setup import (
    TrainingSetup,
    data_mean,
    gradient_step,
    in_unit_interval,
    latent_for,
    require_images,
    training_rows,
)
from pyrogen.reconstruction import PCA, Autoencoder
from pyrogen.steps.closed_form import ClosedForm


@register("reconstruction", "none", "deterministic autoencoder, fully connected")
def autoencoder(
    data: Dataset,
    *,
    latent: Code = "auto",
    hidden: Annotated[
        Integers, Field(description="widths of the encoder's hidden layers, reversed for the decoder; none is linear")
    ] = (512, 256),
    noise: InputNoise = 0.0,
    steps: Steps = 5000,
    batch_size: BatchSize = 256,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Minimises the mean squared error; with ``noise``, a denoising autoencoder."""
    model = Autoencoder(
        data.shape, latent_for(data, latent, 32), hidden, "mlp", noise, data_mean(data), in_unit_interval(data)
    )
    return TrainingSetup(model, gradient_step(model, lr, steps), data)


@register("reconstruction", "none", "deterministic convolutional autoencoder, strided or with pooling")
def conv_autoencoder(
    data: Dataset,
    *,
    latent: Code = "auto",
    width: Annotated[Size, Field(description="channels of the first convolution; doubled at each further one")] = 16,
    pooling: Annotated[
        Literal["none", "max", "average"], Field(description="`none` for strided convolutions")
    ] = "none",
    noise: InputNoise = 0.0,
    steps: Steps = 3000,
    batch_size: BatchSize = 128,
    lr: LearningRate = 2e-3,
) -> TrainingSetup:
    """Minimises the mean squared error; strided convolutions, or pooling and unpooling."""
    require_images(data, "conv-autoencoder")
    network = "conv" if pooling == "none" else pooling
    model = Autoencoder(
        data.shape, latent_for(data, latent, 32), (width,), network, noise, data_mean(data), in_unit_interval(data)
    )
    return TrainingSetup(model, gradient_step(model, lr, steps), data)


@register("reconstruction", "none", "principal component analysis, the linear autoencoder in closed form")
def pca(
    data: Dataset,
    *,
    latent: Code = "auto",
    steps: OneStep = 1,
    batch_size: LoggedBatch = 256,
) -> TrainingSetup:
    """Fitted in one step by an eigendecomposition."""
    k = latent_for(data, latent, 32)
    model = PCA(data.shape, k)
    return TrainingSetup(model, ClosedForm(model, lambda: PCA.from_data(training_rows(data), k), model.loss), data)
