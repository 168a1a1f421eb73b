"""Each value is coded by its conditional, ``-log2 p(x)`` bits in all, with a range coder."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.explicit.autoregressive import AutoregressiveDensity
from pyrogen.use.coding.levels import ROWS, Probs, Words, blocks, categorical, level_probs, to_model


class AutoregressiveCodec:
    """A range coder driven by the conditionals.

    Args:
        model: the density.
        space: of its data.
    """

    def __init__(self, model: AutoregressiveDensity, space: Space) -> None:
        self.model, self.space = model, space

    def encode(self, levels: Tensor) -> Words:
        """Code value by value."""
        from constriction import stream

        coder, family = stream.queue.RangeEncoder(), categorical()

        def code(column: Tensor, probs: Probs) -> Tensor:
            coder.encode(column.numpy().astype(np.int32), family, probs)
            return column

        for part in levels.split(ROWS):
            self._pass(part.flatten(1), code)
        words: Words = coder.get_compressed()
        return words

    def decode(self, words: Words, n: int) -> Tensor:
        """Decode value by value."""
        from constriction import stream

        coder, family = stream.queue.RangeDecoder(words), categorical()

        def read(column: Tensor, probs: Probs) -> Tensor:
            return torch.from_numpy(coder.decode(family, probs)).long()

        parts = [self._pass(torch.zeros(rows, self.model.mean.numel(), dtype=torch.long), read) for rows in blocks(n)]
        return torch.cat(parts).view(n, *self.model.shape)

    def _pass(self, levels: Tensor, code: Callable[[Tensor, Probs], Tensor]) -> Tensor:
        """Code or decode a block: each value, given those before it, is what ``code`` returns."""
        x = self.model.mean.repeat(len(levels), *(1,) * len(self.model.shape))
        found, values = torch.empty_like(levels), x.view(len(x), -1)
        for place in self.model.places:
            i = self.model.flat_index(place)
            fn, index = self.model.conditional(x, place, None)
            probs = level_probs(fn, self.space).flatten(1, -2)[:, index]
            found[:, i] = code(levels[:, i], probs.contiguous().numpy())
            values[:, i] = to_model(found[:, i], self.space)
        return found
