"""Models with neither a likelihood nor samples: ``Autoencoder`` and ``PCA``."""

from pyrogen.reconstruction.autoencoder import Autoencoder
from pyrogen.reconstruction.pca import PCA

__all__ = ["PCA", "Autoencoder"]
