"""Models that reconstruct data and have neither a likelihood nor samples: autoencoders and PCA."""

from pyrogen.reconstruction.autoencoder import Autoencoder
from pyrogen.reconstruction.pca import PCA

__all__ = ["PCA", "Autoencoder"]
