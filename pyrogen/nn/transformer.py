"""An autoregressive distribution over sequences of tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.nn.precision import at_least_float32


class CausalTransformer(nn.Module):
    """A causal transformer: p(c) = Π_i p(c_i | c_1 … c_{i-1}), each factor a softmax over tokens.

    Vaswani et al., "Attention is all you need", NeurIPS 2017.

    Args:
        tokens: the number of tokens.
        length: the length L of a sequence.
        width: the embedding dimension, a multiple of ``heads``.
        layers: the number of attention layers.
        heads: the number of attention heads per layer.
    """

    def __init__(self, tokens: int, length: int, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.tokens, self.length = tokens, length
        self.embedding = nn.Embedding(tokens + 1, width)  # the last is the start token
        self.position_embedding = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens)

    def forward(self, c: Tensor) -> Tensor:
        """Return next-token logits ``(batch, m + 1, tokens)`` given the first m tokens, ``long (batch, m)``."""
        previous = F.pad(c, (1, 0), value=self.tokens)[:, : self.length]
        h = self.embedding(previous) + self.position_embedding[: previous.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(previous.shape[1], h.device, h.dtype)
        return at_least_float32(self.head(self.body(h, mask, is_causal=True)))

    def log_prob(self, c: Tensor) -> Tensor:
        """Return log p(c) in nats, ``(batch,)``, for ``c``, ``long (batch, L)``."""
        return -F.cross_entropy(self(c).transpose(1, 2), c, reduction="none").sum(1)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw sequences ``long (n, L)``, one token at a time."""
        c = torch.zeros(n, 0, dtype=torch.long, device=self.position_embedding.device)
        for _ in range(self.length):
            drawn = torch.multinomial(self(c)[:, -1].softmax(-1), 1)
            c = torch.cat([c, drawn], 1)
        return c
