"""One plain function per model: its signature is its configuration, its first line its description.

A recipe builds the model for a data set and the step that trains it. A new model needs a file of its own, a function
in the room of its kind, and its name here.
"""

from collections.abc import Callable

from pyrogen.errors import unknown
from pyrogen.recipes.adversarial import cgan, dcgan, gan, packed_gan, sngan, wgan, wgan_gp
from pyrogen.recipes.autoencoders import autoencoder, conv_autoencoder, pca
from pyrogen.recipes.autoregressive import made, pixelcnn
from pyrogen.recipes.densities import gaussian, histogram, kde, mixture, ppca
from pyrogen.recipes.flows import maf, realnvp, spline
from pyrogen.recipes.hybrids import aae, vaegan
from pyrogen.recipes.latent import cvae, iwae, ladder_vae, vae, vqvae, vqvae2
from pyrogen.recipes.setup import TrainingSetup

__all__ = ["IMPLICIT", "RECIPES", "Recipe", "TrainingSetup", "describe", "recipe"]

Recipe = Callable[..., TrainingSetup]
EXPLICIT_RECIPES: tuple[Recipe, ...] = (
    *(gaussian, mixture, ppca, kde, histogram),
    *(realnvp, maf, spline, made, pixelcnn),
    *(vae, iwae, cvae, ladder_vae, vqvae, vqvae2),
    *(autoencoder, conv_autoencoder, pca),
)
IMPLICIT_RECIPES: tuple[Recipe, ...] = (gan, cgan, dcgan, wgan, wgan_gp, sngan, packed_gan)
HYBRID_RECIPES: tuple[Recipe, ...] = (aae, vaegan)  # they claim no likelihood, so they count as implicit
RECIPES = {f.__name__.replace("_", "-"): f for f in (*EXPLICIT_RECIPES, *IMPLICIT_RECIPES, *HYBRID_RECIPES)}
IMPLICIT = frozenset(f.__name__.replace("_", "-") for f in (*IMPLICIT_RECIPES, *HYBRID_RECIPES))


def recipe(name: str) -> Recipe:
    """The recipe called ``name``; raises ``ConfigError`` with the nearest name."""
    if name not in RECIPES:
        raise unknown("model", name, RECIPES)
    return RECIPES[name]


def describe(name: str) -> str:
    """What a recipe makes, in one line."""
    return (recipe(name).__doc__ or "").partition("\n")[0]
