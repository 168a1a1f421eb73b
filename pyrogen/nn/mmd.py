"""The squared maximum mean discrepancy (MMD²) of two samples, and its kernels.

    MMD²(p, q) = E k(x, x') + E k(s, s') - 2 E k(x, s),    x, x' ~ p    s, s' ~ q

Gretton et al., "A kernel two-sample test", JMLR 2012.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def gaussian_kernel(x: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """The mean over bandwidths h of ``exp(-‖x_i - x_j‖² / 2h²)``, ``(n, n)``, differentiable also where rows agree.

    Args:
        x: ``(n, dims)``.
        bandwidths: h, in the units of x.
    """
    x = x - x.detach().mean(0)  # distances stay, and lose fewer digits
    norm = x.square().sum(1)
    square = (norm[:, None] + norm - 2 * x @ x.T).clamp_min(0)
    return torch.stack([(-square / (2 * h**2)).exp() for h in bandwidths]).mean(0)


def polynomial_kernel(x: Tensor, degree: int = 3) -> Tensor:
    """``(x_iᵀ x_j / dims + 1)^degree``, ``(n, n)``; the kernel of KID at degree 3.

    Args:
        x: ``(n, dims)``.
        degree: of the polynomial.
    """
    return (x @ x.T / x.shape[1] + 1) ** degree


def unbiased_mmd2(kernel: Tensor, first: int | Tensor) -> Tensor:
    """The unbiased estimate of MMD², which may be negative.

    Args:
        kernel: of the rows of both samples together, ``(n + m, n + m)``, symmetric.
        first: which rows belong to the first sample: n for the first n, a scalar result; or booleans
            ``(splits, n + m)``, a result for each of several splits, ``(splits,)``. At least two rows on each side.
    """
    if isinstance(first, int):
        return unbiased_mmd2(kernel, (torch.arange(len(kernel), device=kernel.device) < first)[None])[0]
    off = kernel - torch.diag(kernel.diagonal())
    in_first = first.to(kernel.dtype)
    in_second = 1 - in_first
    n, m = in_first.sum(1), in_second.sum(1)
    from_first = in_first @ off
    within_first = (from_first * in_first).sum(1) / (n * (n - 1))
    within_second = ((in_second @ off) * in_second).sum(1) / (m * (m - 1))
    return within_first + within_second - 2 * (from_first * in_second).sum(1) / (n * m)


def mmd2_pseudo_values(kernel: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """What each row contributes to ``unbiased_mmd2``, by the jackknife: ``(n,)`` and ``(m,)``, of mean zero.

        ψ_i = -(n_s - 1) (θ_{-i} - mean θ_{-i}),   σ² = Σ_samples var(ψ) / n_s

    with θ_{-i} the estimate without row i, of a sample of n_s rows.

    Args:
        kernel: as for ``unbiased_mmd2``.
        n: the number of rows of the first sample, at least three, as of the second.
    """
    off = kernel - torch.diag(kernel.diagonal())
    m = len(kernel) - n
    within = (off[:n, :n].sum(1), off[n:, n:].sum(1))
    cross = (off[:n, n:].sum(1), off[n:, :n].sum(1))
    values = []
    for (rows, between), (k, other) in zip(zip(within, cross, strict=True), ((n, m), (m, n)), strict=True):
        left_out = (rows.sum() - 2 * rows) / ((k - 1) * (k - 2)) - 2 * (between.sum() - between) / ((k - 1) * other)
        values.append(-(k - 1) * (left_out - left_out.mean()))
    return values[0], values[1]


def mmd2_interaction_variance(kernel: Tensor, n: int) -> Tensor:
    """The variance of ``unbiased_mmd2`` that is due to pairs of rows, ζ₂ of Hoeffding's decomposition.

        ζ₂ = 2 E k_p(x, x')² / n(n-1) + 2 E k_q(s, s')² / m(m-1) + 4 E k_pq(x, s)² / nm

    with kernels from which the means over each of their rows are subtracted. Where both samples have one distribution,
    this is the whole variance.

    Args:
        kernel: as for ``unbiased_mmd2``.
        n: the number of rows of the first sample, at least three, as of the second.
    """
    m = len(kernel) - n

    within_first = 2 * _centred_square(kernel[:n, :n], within=True) / (n * (n - 1))
    within_second = 2 * _centred_square(kernel[n:, n:], within=True) / (m * (m - 1))
    return within_first + within_second + 4 * _centred_square(kernel[:n, n:], within=False) / (n * m)


def _centred_square(block: Tensor, *, within: bool) -> Tensor:
    """The mean square of a kernel between two sets, centred in both; ``within`` one set without its diagonal."""
    if within:
        others = (block.sum(1) - block.diagonal()) / (len(block) - 1)
        block = block - torch.diag(block.diagonal() - others)
    return (block - block.mean(0) - block.mean(1, keepdim=True) + block.mean()).square().mean()
