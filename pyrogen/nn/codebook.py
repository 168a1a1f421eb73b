"""Vector quantisation: a codebook replaces each vector by the nearest of K vectors.

    e(h) = e_k,  k = argmin_j ‖h - e_j‖,    ∂e/∂h := 1 (straight through)

van den Oord, Vinyals and Kavukcuoglu, "Neural discrete representation learning", NeurIPS 2017.
"""

import torch
from torch import Tensor, nn

from pyrogen import ranks
from pyrogen.errors import ConfigError

DEAD_CODE_SHARE = 0.05
"""A code whose usage is below this fraction of the average is dead and is re-initialised from the batch."""


class Codebook(nn.Module):
    """K vectors, learned as exponential moving averages of the inputs assigned to them, or by a loss.

    In training, dead codes are replaced by random vectors of the batch; at the first batch all codes are dead, so the
    codebook is initialised from the data.

    Args:
        codes: K, at least 2.
        dim: the length of each vector.
        ema: learn by moving averages (van den Oord et al., appendix A.1); else by the loss ‖sg[h] - e‖².
        decay: of the averages; a smaller value follows a changing encoder faster and keeps more codes in use.
        commitment: β, the weight of ‖h - sg[e]‖².

    Raises:
        ConfigError: for fewer than two codes.
    """

    count: Tensor
    total: Tensor

    def __init__(
        self, codes: int = 512, dim: int = 32, ema: bool = True, decay: float = 0.95, commitment: float = 0.25
    ) -> None:
        super().__init__()
        if codes < 2:
            raise ConfigError(f"expected a codebook of at least 2 codes; got {codes}")
        self.ema, self.decay, self.commitment = ema, decay, commitment
        self.vectors = nn.Parameter(torch.randn(codes, dim), requires_grad=not ema)
        self.register_buffer("count", torch.zeros(codes))
        self.register_buffer("total", torch.zeros(codes, dim))

    def nearest(self, h: Tensor) -> Tensor:
        """Return the indices of the nearest vectors, ``long (…)`` for ``h (…, dim)``."""
        e = self.vectors.detach()
        flat = h.detach().reshape(-1, e.shape[1])
        return (e.square().sum(1) - 2 * flat @ e.T).argmin(1).view(h.shape[:-1])

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise ``h (batch, positions, dim)``.

        Returns:
            The nearest vectors with the straight-through gradient of ``h``, their indices ``long (batch, positions)``,
            and the loss per datum, summed over its positions, ``(batch,)``.
        """
        if self.training:
            self._update(h.detach().reshape(-1, h.shape[-1]))
        codes = self.nearest(h)
        e = self.vectors[codes]
        loss = self.commitment * (h - e.detach()).square().flatten(1).sum(1)
        if not self.ema:
            loss = loss + (h.detach() - e).square().flatten(1).sum(1)
        return h + (e - h).detach(), codes, loss

    @torch.no_grad()
    def _update(self, h: Tensor) -> None:
        average = ranks.batch_size(len(h)) / len(self.count)
        dead = self.count < DEAD_CODE_SHARE * average
        replacements = ranks.of_first(h[torch.randint(len(h), (len(self.count),), device=h.device)])
        self.vectors.copy_(torch.where(dead[:, None], replacements, self.vectors))
        self.count.copy_(torch.where(dead, average, self.count))
        self.total.copy_(torch.where(dead[:, None], replacements * average, self.total))
        codes = self.nearest(h)
        uses = torch.bincount(codes, minlength=len(self.count)).to(h.dtype)
        sums = torch.zeros_like(self.total).index_add_(0, codes, h)
        self.count.lerp_(ranks.total(uses), 1 - self.decay)
        self.total.lerp_(ranks.total(sums), 1 - self.decay)
        if self.ema:
            self.vectors.copy_(self.total / self.count.clamp_min(1e-6)[:, None])


def perplexity(codes: Tensor, size: int) -> Tensor:
    """The perplexity of code usage: exp of the entropy of the frequencies of ``size`` codes, a scalar."""
    p = torch.bincount(codes.flatten(), minlength=size) / codes.numel()
    return torch.special.entr(p).sum().exp()
