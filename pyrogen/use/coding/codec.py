"""The codec of a model."""

from typing import Any, Protocol

from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit.autoregressive import AutoregressiveDensity
from pyrogen.explicit.posteriors import DiagonalNormal
from pyrogen.explicit.priors import StandardNormal
from pyrogen.explicit.vae import VAE
from pyrogen.explicit.vqvae import VQVAE
from pyrogen.use.coding.autoregressive import AutoregressiveCodec
from pyrogen.use.coding.bits_back import BitsBackCodec
from pyrogen.use.coding.levels import Words
from pyrogen.use.coding.tokens import TokenCodec


class Codec(Protocol):
    """Codes grey levels ``long (n, *shape)`` as words of 32 bits, and back."""

    def encode(self, levels: Tensor) -> Words:
        """The words."""
        ...

    def decode(self, words: Words, n: int) -> Tensor:
        """The levels of n data."""
        ...


def codec(model: Any, space: Space) -> tuple[str, Codec]:
    """The method of a model, ``autoregressive``, ``bits back`` or ``lossy``, and its codec.

    Args:
        model: an unconditional ``MADE`` or ``PixelCNN``; a ``VAE`` with a standard normal prior and a diagonal normal
            posterior; or a ``VQVAE``.
        space: of its data: binary, or grey levels in [0, 1].

    Raises:
        ConfigError: for another model, or another space.
    """
    levels = 2 if space.support == "binary" else space.levels
    if space.support not in ("binary", "unit") or not levels:
        raise ConfigError(f"compression is of binary data or grey levels in [0, 1]; these data are a {space}")
    if getattr(model, "condition", None) is not None:
        raise ConfigError(f"a {type(model).__name__} given y cannot compress data without their y")
    if isinstance(model, AutoregressiveDensity):
        return "autoregressive", AutoregressiveCodec(model, space)
    if isinstance(model, VQVAE):
        return "lossy", TokenCodec(model, space)
    if isinstance(model, VAE) and isinstance(model.p_z, StandardNormal) and isinstance(model.q_z, DiagonalNormal):
        return "bits back", BitsBackCodec(model, space)
    raise ConfigError(
        f"a {type(model).__name__} cannot compress: expected MADE or PixelCNN, a VQ-VAE, or a VAE with a standard "
        "normal prior and a diagonal normal posterior"
    )
