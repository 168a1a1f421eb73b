"""Packing: the critic scores several samples jointly, so that it can detect a lack of diversity.

Lin et al., "PacGAN: the power of two samples in generative adversarial networks", NeurIPS 2018.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pyrogen.errors import ConfigError


def packed_shape(shape: Sequence[int], pack: int) -> tuple[int, ...]:
    """The shape of ``pack`` data concatenated along the first dimension, the input of the inner critic."""
    return (pack * shape[0], *shape[1:])


class Packed(nn.Module):
    """``x (batch, *shape) -> score (batch / pack,)``, by a critic of inputs of ``packed_shape(shape, pack)``.

    A pack consists of ``pack`` consecutive rows of the batch, which are independent if the batch is shuffled. Remaining
    rows at the end are not scored. Labels are ignored.

    Args:
        critic: scores packs, ``critic(x) -> (batch / pack,)``.
        pack: m, the number of rows per pack.

    Raises:
        ConfigError: if ``pack`` is less than 1, or a batch has fewer than ``pack`` rows.
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
        """The features of each pack, ``(batch / pack, dims)``, if the critic has ``features``."""
        features: Any = self.critic.features
        h: Tensor = features(self._packs(x))
        return h

    def _packs(self, x: Tensor) -> Tensor:
        packs = len(x) // self.pack
        if packs == 0:
            raise ConfigError(f"a critic with pack={self.pack} needs at least {self.pack} rows; got {len(x)}")
        return x[: packs * self.pack].reshape(packs, *packed_shape(x.shape[1:], self.pack))
