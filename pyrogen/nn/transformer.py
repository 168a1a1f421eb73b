"""A distribution of sequences of tokens, one after another."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.nn.precision import at_least_float32


class CausalTransformer(nn.Module):
    """p(c) = Π_i p(c_i | c_1 … c_{i-1}), each factor a softmax, by self-attention to what came before.

    Vaswani et al., "Attention is all you need", NeurIPS 2017.

    Args:
        tokens: how many values a c_i has.
        length: L.
        width: of the embedding, a multiple of ``heads``.
        layers: of attention.
        heads: of each layer.
    """

    def __init__(self, tokens: int, length: int, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.tokens, self.length = tokens, length
        self.embedding = nn.Embedding(tokens + 1, width)  # the last stands for "nothing yet"
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens)

    def forward(self, c: Tensor) -> Tensor:
        """Logits of the c_i after each of the first m tokens ``long (batch, m)``: ``(batch, m + 1, tokens)``."""
        seen = F.pad(c, (1, 0), value=self.tokens)[:, : self.length]
        h = self.embedding(seen) + self.place[: seen.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(seen.shape[1], h.device, h.dtype)
        return at_least_float32(self.head(self.body(h, mask, is_causal=True)))

    def log_prob(self, c: Tensor) -> Tensor:
        """Log p(c) in nats, ``(batch,)``, of ``c``, ``long (batch, L)``."""
        return -F.cross_entropy(self(c).transpose(1, 2), c, reduction="none").sum(1)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw ``long (n, L)``, a token at a time."""
        c = torch.zeros(n, 0, dtype=torch.long, device=self.place.device)
        for _ in range(self.length):
            drawn = torch.multinomial(self(c)[:, -1].softmax(-1), 1)
            c = torch.cat([c, drawn], 1)
        return c
