"""A codebook: the nearest of K vectors in place of each vector.

    e(h) = e_k,  k = argmin_j ‖h - e_j‖,    ∂e/∂h := 1 (straight through)

van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017.
"""

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigError

RARE = 0.05
"""A vector used less than this share of the average is moved to where data are."""


class Codebook(nn.Module):
    """K vectors, learned as moving averages of what is mapped to them or by a loss.

    While training, a vector that hardly anything is mapped to is put in the place of a random one of the batch; at
    the first batch that is all of them, so the codebook starts from the data.

    Args:
        codes: K, at least 2.
        dim: the length of each vector.
        ema: by moving averages (van den Oord et al., appendix A.1); else by the loss ‖sg[h] - e‖².
        decay: of the averages; quick ones follow an encoder that still moves, and keep more codes in use.
        commitment: β, the weight of ‖h - sg[e]‖².

    Raises:
        ConfigError: for less than two codes.
    """

    count: Tensor
    total: Tensor

    def __init__(
        self, codes: int = 512, dim: int = 32, ema: bool = True, decay: float = 0.95, commitment: float = 0.25
    ) -> None:
        super().__init__()
        if codes < 2:
            raise ConfigError(f"a codebook needs at least 2 codes; got {codes}")
        self.ema, self.decay, self.commitment = ema, decay, commitment
        self.vectors = nn.Parameter(torch.randn(codes, dim), requires_grad=not ema)
        self.register_buffer("count", torch.zeros(codes))
        self.register_buffer("total", torch.zeros(codes, dim))

    def nearest(self, h: Tensor) -> Tensor:
        """The codes of the nearest vectors, ``long (…)`` for ``h (…, dim)``."""
        e = self.vectors.detach()
        flat = h.detach().reshape(-1, e.shape[1])
        return (e.square().sum(1) - 2 * flat @ e.T).argmin(1).view(h.shape[:-1])

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise ``h (batch, positions, dim)``.

        Returns:
            The nearest vectors with the gradient of ``h``, their codes ``long (batch, positions)``, and the loss of
            each datum, summed over its positions, ``(batch,)``.
        """
        if self.training:
            self._learn(h.detach().reshape(-1, h.shape[-1]))
        codes = self.nearest(h)
        e = self.vectors[codes]
        loss = self.commitment * (h - e.detach()).square().flatten(1).sum(1)
        if not self.ema:
            loss = loss + (h.detach() - e).square().flatten(1).sum(1)
        return h + (e - h).detach(), codes, loss

    @torch.no_grad()
    def _learn(self, h: Tensor) -> None:
        average = len(h) / len(self.count)
        dead = self.count < RARE * average
        chosen = h[torch.randint(len(h), (len(self.count),), device=h.device)]
        self.vectors.copy_(torch.where(dead[:, None], chosen, self.vectors))
        self.count.copy_(torch.where(dead, average, self.count))
        self.total.copy_(torch.where(dead[:, None], chosen * average, self.total))
        codes = self.nearest(h)
        uses = torch.bincount(codes, minlength=len(self.count)).to(h.dtype)
        self.count.lerp_(uses, 1 - self.decay)
        self.total.lerp_(torch.zeros_like(self.total).index_add_(0, codes, h), 1 - self.decay)
        if self.ema:
            self.vectors.copy_(self.total / self.count.clamp_min(1e-6)[:, None])


def perplexity(codes: Tensor, size: int) -> Tensor:
    """How many of ``size`` codes are in use: exp of the entropy of their frequencies, a scalar."""
    p = torch.bincount(codes.flatten(), minlength=size) / codes.numel()
    return torch.special.entr(p).sum().exp()
