"""Vector-quantised autoencoders with a learned prior over the codes.

    c = nearest codes of encoder(x)      p(x, c) = p(c) p(x | c),    p(x | c) = likelihood(decoder(e_c))
    log p(x) ≥ log p(c) + log p(x | c)

The posterior is a point mass, so the bound, in nats, is computed exactly. Van den Oord et al., NeurIPS 2017; two
levels after Razavi, van den Oord and Vinyals, "Generating diverse high-fidelity images with VQ-VAE-2", NeurIPS 2019.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from pyrogen.explicit.likelihoods import BernoulliLikelihood, Likelihood
from pyrogen.nn.codebook import Codebook, perplexity
from pyrogen.nn.conditions import Conditional
from pyrogen.nn.conv import halved_sizes, image_shape
from pyrogen.nn.eval_mode import eval_mode
from pyrogen.nn.precision import at_least_float32
from pyrogen.nn.transformer import CausalTransformer


class VQVAE(Conditional):
    """A vector-quantised autoencoder of images, trained with its prior by ``GradientStep(vqvae.losses)``.

    The encoder halves height and width twice (once for images below 16 pixels). The codes of a datum are one sequence,
    ``long (batch, positions)``, in row-major order.

    Args:
        shape: ``(channel, height, width)``, at least 8 × 8.
        codes: K, the size of the codebook.
        dim: the dimension of its vectors.
        width: channels of the convolutions.
        likelihood: the observation model p(x | c).
        mean: the mean of the data, of ``shape``, at which the decoder is initialised.
        ema: learn the codebook by exponential moving averages; otherwise by a loss.
        prior_width: the embedding dimension of the prior's transformer, a multiple of 4.

    Raises:
        ConfigError: if data are not images of at least 8 × 8, or for fewer than two codes.
    """

    def __init__(
        self,
        shape: Sequence[int],
        codes: int = 512,
        dim: int = 32,
        width: int = 32,
        likelihood: Likelihood | None = None,
        mean: Tensor | None = None,
        ema: bool = True,
        prior_width: int = 64,
    ) -> None:
        super().__init__()
        channels, *size = image_shape(shape)
        self.shape, self.codes = tuple(shape), codes
        self.likelihood = likelihood or BernoulliLikelihood()
        out = (self.likelihood.outputs * channels, *size)
        sizes = halved_sizes(*size)[:3]
        self.grid = sizes[-1]
        self.encoder = _encoder(channels, width, len(sizes) - 1)
        self._make_levels(codes, dim, width, ema)
        self.decoder = _decoder(self.features, width, out[0], sizes)
        self.prior_network = CausalTransformer(codes, self.positions, prior_width)
        start = torch.zeros(out) if mean is None else self.likelihood.link(mean)
        self.offset = nn.Parameter(start.clone())

    def _make_levels(self, codes: int, dim: int, width: int, ema: bool) -> None:
        self.positions, self.features = prod(self.grid), dim
        self.project = nn.Conv2d(width, dim, 1)
        self.codebook = Codebook(codes, dim, ema)

    def quantise(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The decoder's input for ``x``, the codes ``(batch, positions)``, and the codebook loss ``(batch,)``."""
        e, codes, loss = self.codebook(_to_sequence(self.project(self.encoder(x))))
        return _to_grid(e, self.grid), codes, loss

    def embed(self, codes: Tensor) -> Tensor:
        """The decoder's input for codes, ``(batch, features, *grid)``."""
        return _to_grid(self.codebook.vectors[codes], self.grid)

    def decoder_output(self, e: Tensor) -> Tensor:
        """The decoder's output h, the parameters of the likelihood p(x | c)."""
        h: Tensor = at_least_float32(self.decoder(e)) + self.offset
        return h

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """The negative bound plus the codebook loss, in nats per datum, and its terms.

        The loss of the prior has no gradient with respect to the encoder, as codes are discrete.
        """
        e, codes, codebook = self.quantise(x)
        distortion = -self.likelihood(self.decoder_output(e)).log_prob(x).flatten(1).sum(1)
        rate = -self.prior_network.log_prob(codes)
        return {
            "loss": (distortion + codebook + rate).mean(),
            "distortion": distortion.mean(),
            "rate": rate.mean(),
            "perplexity": perplexity(codes, self.codes),
        }

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """p(x, c) over a batch ``(batch, *shape)``.

        Model and guide serve evaluation; training uses ``losses``.
        """
        self.side(x.shape[0], y)
        with pyro.plate("data", len(x)):
            codes = pyro.sample("codes", CodeSequences(self.prior_network, x.shape[0]))
            p_x = self.likelihood(self.decoder_output(self.embed(codes)))
            pyro.sample("x", p_x.to_event(len(self.shape)), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """q(c | x), a point mass on the codes of x."""
        self.side(x.shape[0], y)
        with pyro.plate("data", len(x)):
            pyro.sample("codes", dist.Delta(self.encode(x), event_dim=1))

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The codes, ``long (batch, positions)``."""
        with eval_mode(self):  # in training mode the codebook would be updated
            return self.quantise(x)[1]

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """E[x | c] of codes, ``(batch, *shape)``."""
        return self.likelihood.mean(self.decoder_output(self.embed(z)))

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The reconstruction E[x | c] from the codes of ``x``, ``(batch, *shape)``."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw codes from the prior, then x ~ p(x | c): ``(n, *shape)``."""
        self.side(n, y)
        with eval_mode(self):
            codes = self.prior_network.sample(n)
            x: Tensor = self.likelihood(self.decoder_output(self.embed(codes))).sample()
            return x

    @torch.no_grad()
    def sample_mean(self, n: int, y: Tensor | None = None) -> Tensor:
        """Draw codes from the prior and return E[x | c], the sample without observation noise."""
        self.side(n, y)
        with eval_mode(self):
            return self.decode(self.prior_network.sample(n))


class VQVAE2(VQVAE):
    """Two levels of codes: the top level on a grid of half the height and width, the bottom level conditional on it.

    The sequence starts with the codes of the top level, so one autoregressive prior is p(top) p(bottom | top). Each
    level has its own codebook, of the same size. Arguments are those of ``VQVAE``.
    """

    def _make_levels(self, codes: int, dim: int, width: int, ema: bool) -> None:
        height, side = self.grid
        self.top_grid = ((height + 1) // 2, (side + 1) // 2)
        self.positions, self.features = prod(self.top_grid) + prod(self.grid), 2 * dim
        self.to_top = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.SiLU(), nn.Conv2d(width, dim, 1))
        padding = (1 - height % 2, 1 - side % 2)
        self.from_top = nn.ConvTranspose2d(dim, dim, 3, 2, 1, output_padding=padding)
        self.project = nn.Conv2d(width + dim, dim, 1)
        self.top, self.bottom = Codebook(codes, dim, ema), Codebook(codes, dim, ema)

    def quantise(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As for ``VQVAE``; the bottom level is encoded given the quantised top level."""
        h = self.encoder(x)
        e_top, top, top_loss = self.top(_to_sequence(self.to_top(h)))
        above = self.from_top(_to_grid(e_top, self.top_grid))
        e, bottom, loss = self.bottom(_to_sequence(self.project(torch.cat([h, above], 1))))
        return torch.cat([_to_grid(e, self.grid), above], 1), torch.cat([top, bottom], 1), top_loss + loss

    def embed(self, codes: Tensor) -> Tensor:
        """The decoder's input for codes, those of the top level first."""
        top, bottom = codes.split([prod(self.top_grid), prod(self.grid)], 1)
        above = self.from_top(_to_grid(self.top.vectors[top], self.top_grid))
        return torch.cat([_to_grid(self.bottom.vectors[bottom], self.grid), above], 1)


class CodeSequences(TorchDistribution):
    """``n`` independent sequences of an autoregressive network, event shape ``(L,)``.

    Args:
        network: the autoregressive network.
        n: the number of sequences.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(self, network: CausalTransformer, n: int) -> None:
        self.network = network
        super().__init__(torch.Size([n]), torch.Size([network.length]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "CodeSequences":
        """The same distribution with another batch shape."""
        return CodeSequences(self.network, *batch_shape)

    def log_prob(self, c: Tensor) -> Tensor:
        """Log p(c) in nats, ``(n,)``."""
        return self.network.log_prob(c)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, n, L)``."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.network.sample(prod(shape[:-1])).view(shape)


def _to_sequence(h: Tensor) -> Tensor:
    """``(batch, dim, h, w) -> (batch, h w, dim)``."""
    return at_least_float32(h.flatten(2).transpose(1, 2))


def _to_grid(e: Tensor, grid: tuple[int, int]) -> Tensor:
    """The inverse of ``_rows``."""
    return e.transpose(1, 2).unflatten(2, grid)


def _encoder(channels: int, width: int, halved: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(halved):
        layers += [nn.Conv2d(channels if i == 0 else width, width, 4, 2, 1), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, width, 3, 1, 1), nn.SiLU())


def _decoder(features: int, width: int, out: int, sizes: list[tuple[int, int]]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(features, width, 3, 1, 1), nn.SiLU()]
    for i, (h, w) in reversed(list(enumerate(sizes[:-1]))):
        layers.append(nn.ConvTranspose2d(width, width if i else out, 4, 2, 1, output_padding=(h % 2, w % 2)))
        layers += [nn.SiLU()] if i else []
    return nn.Sequential(*layers)
