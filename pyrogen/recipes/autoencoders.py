"""Recipes of deterministic autoencoders: a code and a reconstruction, no density and no samples."""

from functools import partial

from pyrogen.data.dataset import Dataset
from pyrogen.errors import unknown
from pyrogen.nn.pooling import POOLINGS
from pyrogen.recipes.setup import TrainingSetup, descent, in_unit_box, mean_of, require_images
from pyrogen.reconstruction import PCA, Autoencoder
from pyrogen.steps.closed_form import ClosedForm


def autoencoder(
    data: Dataset,
    *,
    latent: int = 32,
    hidden: tuple[int, ...] = (512, 256),
    noise: float = 0.0,
    steps: int = 5000,
    batch_size: int = 256,
    lr: float = 2e-3,
) -> TrainingSetup:
    """Deterministic autoencoder, fully connected (no likelihood: reconstructions)."""
    model = Autoencoder(data.shape, latent, hidden, "mlp", noise, mean_of(data), in_unit_box(data))
    return TrainingSetup(model, descent(model, lr, steps), data)


def conv_autoencoder(
    data: Dataset,
    *,
    latent: int = 32,
    width: int = 16,
    pooling: str = "none",
    noise: float = 0.0,
    steps: int = 3000,
    batch_size: int = 128,
    lr: float = 2e-3,
) -> TrainingSetup:
    """Deterministic convolutional autoencoder, strided or with pooling (no likelihood: reconstructions)."""
    require_images(data, "conv-autoencoder")
    if pooling not in ("none", *POOLINGS):
        raise unknown("pooling", pooling, ("none", *POOLINGS))
    network = "conv" if pooling == "none" else pooling
    model = Autoencoder(data.shape, latent, (width,), network, noise, mean_of(data), in_unit_box(data))
    return TrainingSetup(model, descent(model, lr, steps), data)


def pca(data: Dataset, *, latent: int = 32, steps: int = 1, batch_size: int = 256) -> TrainingSetup:
    """Principal components, the linear autoencoder in closed form (no likelihood: reconstructions)."""
    x, *_ = data.train.tensors()
    model = PCA(data.shape, latent)
    return TrainingSetup(model, ClosedForm(model, partial(PCA.from_data, x, latent), model.loss), data)
