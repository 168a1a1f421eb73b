"""Packing: the critic judges several data at once, and so sees when samples differ too little.

Lin et al., "PacGAN: the power of two samples in generative adversarial networks", NeurIPS 2018.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pyrogen.errors import ConfigError


def packed_shape(shape: Sequence[int], pack: int) -> tuple[int, ...]:
    """The shape of ``pack`` data as one, side by side in the first dimension: what the inner critic is built for."""
    return (pack * shape[0], *shape[1:])


class Packed(nn.Module):
    """``x (batch, *shape) -> score (batch / pack,)`` by any critic of ``packed_shape(shape, pack)``.

    A pack holds ``pack`` rows that follow each other in the batch, which a shuffled batch makes independent; rows
    left over at its end are not scored. Labels are ignored.

    Args:
        critic: judges a pack, ``critic(x) -> (batch / pack,)``.
        pack: m, how many data it sees at once.

    Raises:
        ConfigError: if ``pack`` is less than 1, or a batch holds less than one pack.
    """

    def __init__(self, critic: nn.Module, pack: int = 2) -> None:
        super().__init__()
        if pack < 1:
            raise ConfigError(f"pack must be at least 1; got {pack}")
        self.critic, self.pack = critic, pack

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Score."""
        score: Tensor = self.critic(self._packs(x))
        return score

    def features(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The features of each pack, ``(batch / pack, dims)``, of a critic that has ``features``."""
        features: Any = self.critic.features
        h: Tensor = features(self._packs(x))
        return h

    def _packs(self, x: Tensor) -> Tensor:
        packs = len(x) // self.pack
        if packs == 0:
            raise ConfigError(f"a critic of packs of {self.pack} needs as many rows; got {len(x)}")
        return x[: packs * self.pack].reshape(packs, *packed_shape(x.shape[1:], self.pack))
