"""The discrete codes of a VQ-VAE, coded by its prior: ``-log2 p(c)`` bits. The image is their mean: this is lossy."""

import numpy as np
import torch
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.explicit.vqvae import VQVAE
from pyrogen.use.coding.levels import ROWS, Probs, Words, blocks, categorical, to_model


class TokenCodec:
    """A range coder of the codes of a VQ-VAE; lossy.

    Args:
        model: the VQ-VAE.
        space: of its data.
    """

    def __init__(self, model: VQVAE, space: Space) -> None:
        self.model, self.space = model, space

    def encode(self, levels: Tensor) -> Words:
        """Code the discrete codes."""
        from constriction import stream

        coder = stream.queue.RangeEncoder()
        for part in levels.split(ROWS):
            codes = self.model.encode(to_model(part, self.space))
            for i in range(codes.shape[1]):
                coder.encode(codes[:, i].numpy().astype(np.int32), categorical(), self._probs(codes[:, :i]))
        words: Words = coder.get_compressed()
        return words

    def decode(self, words: Words, n: int) -> Tensor:
        """The levels nearest to the means of the decoded codes."""
        from constriction import stream

        coder, parts = stream.queue.RangeDecoder(words), []
        for rows in blocks(n):
            codes = torch.zeros(rows, 0, dtype=torch.long)
            for _ in range(self.model.prior_network.length):
                found = coder.decode(categorical(), self._probs(codes))
                codes = torch.cat([codes, torch.from_numpy(found).long()[:, None]], 1)
            mean = self.model.decode(codes)
            if self.space.support == "binary":
                parts.append((mean > 0.5).long())
            else:
                parts.append((mean * self.space.levels).floor().clamp(0, self.space.levels - 1).long())
        return torch.cat(parts)

    def _probs(self, before: Tensor) -> Probs:
        probs: Probs = self.model.prior_network(before)[:, -1].softmax(-1).float().numpy()
        return probs
