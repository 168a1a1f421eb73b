"""Masked networks, whose i-th output depends only on the inputs before it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.nn.mlp import compress_tails


class MaskedLinear(nn.Linear):
    """A linear layer with a fixed mask on its weights: ``x (mask ∘ W)ᵀ + b``.

    Args:
        mask: zeros and ones, ``(outputs, inputs)``.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the masked layer."""
        return F.linear(x, self.mask * self.weight, self.bias)


class MaskedMLP(nn.Module):
    """An autoregressive MLP (MADE): outputs for dimension i depend only on ``x_1 … x_{i-1}``.

    Every hidden unit has a degree m and depends on inputs 1 … m; the outputs for i depend on units of degree below i.
    Features of side information are inputs of degree 0, and then some hidden units are of degree 0 too, so that the
    outputs for the first dimension depend on them.
    Germain, Gregor, Murray and Larochelle, "MADE: masked autoencoder for distribution estimation", ICML 2015.

    Args:
        dims: the number of inputs d.
        hidden: widths of the hidden layers.
        outputs: the number of outputs per dimension.
        activation: the nonlinearity after each hidden layer.
        context: how many features of side information there are.
    """

    def __init__(
        self,
        dims: int,
        hidden: Sequence[int],
        outputs: int,
        activation: Callable[[], nn.Module] = nn.SiLU,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.dims, self.outputs = dims, outputs
        degrees = torch.arange(1, dims + 1)
        layers: list[nn.Module] = []
        before = torch.cat([torch.zeros(context, dtype=torch.long), degrees])
        least = 0 if context else 1
        for width in hidden:
            after = torch.arange(width) % max(dims - least, 1) + least
            layers += [MaskedLinear(after[:, None] >= before), activation()]
            before = after
        self.body = nn.Sequential(*layers)
        self.head = MaskedLinear((degrees[:, None] > before).repeat(outputs, 1))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Map ``(batch, *event)`` of d values, and features ``(batch, context)``, to ``(batch, outputs, d)``."""
        return self.head(self.body(_inputs(x, c))).view(-1, self.outputs, self.dims)

    def at(self, x: Tensor, i: int, c: Tensor | None = None) -> Tensor:
        """Return the outputs for dimension i alone, ``(batch, outputs, 1)``; they do not depend on x from i on."""
        rows = slice(i, None, self.dims)
        weight = self.head.mask[rows] * self.head.weight[rows]
        return F.linear(self.body(_inputs(x, c)), weight, self.head.bias[rows])[:, :, None]


def _inputs(x: Tensor, c: Tensor | None) -> Tensor:
    x = compress_tails(x.flatten(1))
    return x if c is None else torch.cat([c, x], 1)
