"""Lossless codes of grey levels by a model, with the entropy coders of ``constriction``.

- Autoregressive models: each value is coded by its conditional, ``-log2 p(x)`` bits in all.
- A VAE, by bits back: with z on a grid, decode z by q(z | x) from the bits coded before, encode x by p(x | z), encode z
  by p(z): ``-ELBO`` bits in expectation. Townsend, Bird and Barber, "Practical lossless compression with latent
  variables using bits back coding", ICLR 2019.
- A VQ-VAE codes the sequence of its discrete codes by its prior, ``-log2 p(c)`` bits; the image is their mean, so this
  alone is lossy.

Coding and decoding call the networks on the same rows in the same order, as results of other batch sizes may differ in
the last bit.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit.autoregressive import AutoregressiveDensity
from pyrogen.explicit.posteriors import DiagonalNormal
from pyrogen.explicit.priors import StandardNormal
from pyrogen.explicit.vae import VAE
from pyrogen.explicit.vqvae import VQVAE

ROWS = 100
"""The data that are coded together: the networks see that many rows at a time."""
LATENT_STEP = 1 / 128
"""The width of the grid of z, in units of its prior's deviation."""
LATENT_RANGE = 8
"""Coordinates of z are coded within so many deviations of the prior."""
LATENT_BITS = 10
"""The bits that a coordinate of z takes at most: log2 of the deviations of p(z) in steps of the grid, and 2."""
Words = NDArray[np.uint32]
Symbols = NDArray[np.int32]
Probs = NDArray[np.float32]


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


def to_model(levels: Tensor, space: Space) -> Tensor:
    """Grey levels as a model sees them: binary, or the middles of their cells."""
    x = levels.to(torch.get_default_dtype())
    return x if space.support == "binary" else (x + 0.5) / space.levels


def level_probs(fn: Any, space: Space) -> Tensor:
    """The probability of every level under a distribution of single values, ``(*batch, levels)``.

    Raises:
        ConfigError: for a density other than a normal, or one that is constant on the cells of grey levels.
    """
    if space.support == "binary":
        p = fn.log_prob(torch.ones(fn.batch_shape)).exp()
        return torch.stack([1 - p, p], -1).float()
    count = space.levels
    if isinstance(fn, torch.distributions.Normal):
        edges = torch.arange(1, count) / count
        below = fn.cdf(edges.view(-1, *(1,) * len(fn.batch_shape)).expand(-1, *fn.batch_shape))
        ends = torch.zeros(1, *fn.batch_shape), torch.ones(1, *fn.batch_shape)
        masses = torch.cat([ends[0], below, ends[1]]).diff(dim=0)
    else:
        component = getattr(fn, "component_distribution", fn)
        if getattr(component, "levels", 0) != count:
            raise ConfigError(f"a {type(component).__name__} over grey levels has no mass for compression")
        middles = (torch.arange(count) + 0.5) / count
        masses = torch.stack([fn.log_prob(m.expand(fn.batch_shape)) for m in middles]).exp() / count
    return masses.movedim(0, -1).float()


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

        coder, family = stream.queue.RangeEncoder(), _categorical()

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

        coder, family = stream.queue.RangeDecoder(words), _categorical()

        def read(column: Tensor, probs: Probs) -> Tensor:
            return torch.from_numpy(coder.decode(family, probs)).long()

        parts = [self._pass(torch.zeros(rows, self.model.mean.numel(), dtype=torch.long), read) for rows in _blocks(n)]
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
        blocks = list(levels.split(ROWS))
        initial = len(blocks[0]) * self.model.latent * LATENT_BITS // 32 + 2
        coder = stream.stack.AnsCoder(rng.integers(0, 2**32, initial, dtype=np.uint32))
        for part in blocks:
            codes: Symbols = coder.decode(self._latents(), *self._posterior(part))
            symbols = part.flatten().numpy().astype(np.int32)
            coder.encode_reverse(symbols, _categorical(), self._likelihood(codes, len(part)))
            coder.encode_reverse(codes, self._latents(), *self._prior(len(codes)))
        words: Words = coder.get_compressed()
        return words

    def decode(self, words: Words, n: int) -> Tensor:
        """The steps of ``encode`` backwards, from the last block to the first."""
        from constriction import stream

        coder, parts = stream.stack.AnsCoder(words), []
        for rows in reversed(list(_blocks(n))):
            codes: Symbols = coder.decode(self._latents(), *self._prior(rows * self.model.latent))
            found = coder.decode(_categorical(), self._likelihood(codes, rows))
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
                coder.encode(codes[:, i].numpy().astype(np.int32), _categorical(), self._probs(codes[:, :i]))
        words: Words = coder.get_compressed()
        return words

    def decode(self, words: Words, n: int) -> Tensor:
        """The levels nearest to the means of the decoded codes."""
        from constriction import stream

        coder, parts = stream.queue.RangeDecoder(words), []
        for rows in _blocks(n):
            codes = torch.zeros(rows, 0, dtype=torch.long)
            for _ in range(self.model.prior_network.length):
                found = coder.decode(_categorical(), self._probs(codes))
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


def _categorical() -> Any:
    from constriction import stream

    return stream.model.Categorical(perfect=False)


def _blocks(n: int) -> Iterator[int]:
    """The numbers of rows of the blocks of n data."""
    for start in range(0, n, ROWS):
        yield min(ROWS, n - start)
