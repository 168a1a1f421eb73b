"""A VAE codes by bits back, with a stack coder.

With z on a grid: decode z by q(z | x) from the bits coded before, encode x by p(x | z), encode z by p(z); in
expectation ``-ELBO`` bits. Townsend, Bird and Barber, "Practical lossless compression with latent variables using bits
back coding", ICLR 2019.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.explicit.vae import VAE
from pyrogen.use.coding.levels import ROWS, Probs, Symbols, Words, blocks, categorical, level_probs, to_model

LATENT_STEP = 1 / 128
"""The width of the grid of z, in units of its prior's deviation."""
LATENT_RANGE = 8
"""Coordinates of z are coded within so many deviations of the prior."""
LATENT_BITS = 10
"""The bits that a coordinate of z takes at most: log2 of the deviations of p(z) in steps of the grid, and 2."""


class BitsBackCodec:
    """A stack coder by bits back; the blocks of data are chained.

    Args:
        model: the VAE.
        space: of its data.
    """

    def __init__(self, model: VAE, space: Space) -> None:
        self.model, self.space = model, space
        self.edge = round(LATENT_RANGE / LATENT_STEP)

    def encode(self, levels: Tensor) -> Words:
        """Code block by block; the first takes its bits back from random ones, which stay in the result."""
        from constriction import stream

        rng = np.random.default_rng(0)
        parts = list(levels.split(ROWS))
        initial = len(parts[0]) * self.model.latent * LATENT_BITS // 32 + 2
        coder = stream.stack.AnsCoder(rng.integers(0, 2**32, initial, dtype=np.uint32))
        for part in parts:
            codes: Symbols = coder.decode(self._latents(), *self._posterior(part))
            symbols = part.flatten().numpy().astype(np.int32)
            coder.encode_reverse(symbols, categorical(), self._likelihood(codes, len(part)))
            coder.encode_reverse(codes, self._latents(), *self._prior(len(codes)))
        words: Words = coder.get_compressed()
        return words

    def decode(self, words: Words, n: int) -> Tensor:
        """The steps of ``encode`` backwards, from the last block to the first."""
        from constriction import stream

        coder, parts = stream.stack.AnsCoder(words), []
        for rows in reversed(list(blocks(n))):
            codes: Symbols = coder.decode(self._latents(), *self._prior(rows * self.model.latent))
            found = coder.decode(categorical(), self._likelihood(codes, rows))
            part = torch.from_numpy(found).long().view(rows, *self.model.shape)
            coder.encode_reverse(codes, self._latents(), *self._posterior(part))
            parts.append(part)
        return torch.cat(parts[::-1])

    def _latents(self) -> Any:
        from constriction import stream

        return stream.model.QuantizedGaussian(-self.edge, self.edge)

    def _prior(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.zeros(n), np.full(n, 1 / LATENT_STEP)

    def _posterior(self, levels: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and deviations of q(z | x) in units of the grid, as constriction wants them: within its range."""
        q = self.model.posterior_dist(to_model(levels, self.space))
        mean, deviation = (t.double().flatten().numpy() / LATENT_STEP for t in (q.mean, q.stddev))
        return np.clip(mean, -self.edge, self.edge), np.maximum(deviation, 1e-3)

    def _likelihood(self, codes: Symbols, rows: int) -> Probs:
        """The probabilities of all levels of all values, ``(rows * d, levels)``."""
        z = torch.from_numpy(codes).to(torch.get_default_dtype()).view(rows, -1) * LATENT_STEP
        probs = level_probs(self.model.observation_dist(z, None), self.space)
        return probs.reshape(-1, probs.shape[-1]).contiguous().numpy()
