"""p(x | y) for y = A x + ε in closed form, where p(x) is a Gaussian or a mixture of Gaussians; in float64.

    S = A Σ Aᵀ + σ² I,   K = Σ Aᵀ S⁻¹,   E[x | y] = μ + K (y - A μ),   cov[x | y] = Σ - K A Σ

A draw is ``x + K (y - A x - ε)`` with x ~ p(x) and ε ~ N(0, σ² I) (Matheron's rule). For a mixture, p(k | y) is
proportional to w_k N(y; A μ_k, S_k).
"""

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyrogen.errors import ConfigError
from pyrogen.explicit.components import Components


def condition(p_x: Components, y: Tensor, a: Tensor, noise: float, draws: int) -> tuple[Tensor, Tensor]:
    """Draws from p(x | y), ``(n, draws, d)``, and E[x | y], ``(n, d)``.

    Args:
        p_x: the model.
        y: what is seen, ``(n, seen)``.
        a: A, ``(seen, d)``.
        noise: σ.
        draws: for each datum.

    Raises:
        ConfigError: if values of y determine each other, so that A Σ Aᵀ + σ² I is singular.
    """
    y = y.double()
    seen = a @ p_x.covariances @ a.T + noise**2 * torch.eye(len(a), device=a.device, dtype=a.dtype)
    factor, failed = torch.linalg.cholesky_ex(seen)
    if bool(failed.any()):
        raise ConfigError(
            "what is seen has a singular covariance under the model: some values determine others; add noise"
        )
    gain = torch.cholesky_solve(a @ p_x.covariances, factor).mT  # (k, d, seen)
    expected = p_x.means @ a.T
    log_prob = MultivariateNormal(expected, scale_tril=factor).log_prob(y[:, None])
    posterior = (p_x.log_weights + log_prob).softmax(1)  # (n, k)
    each = p_x.means + torch.einsum("kds,nks->nkd", gain, y[:, None] - expected)
    mean = torch.einsum("nk,nkd->nd", posterior, each)
    component = torch.multinomial(posterior, draws, replacement=True).flatten()
    observed = y.repeat_interleave(draws, 0)
    x = torch.empty(len(component), a.shape[1], device=a.device, dtype=a.dtype)
    for k in component.unique():
        rows = component == k
        prior = p_x.means[k] + torch.randn_like(x[rows]) @ _root(p_x.covariances[k]).T
        seen_of_prior = prior @ a.T + noise * torch.randn_like(observed[rows])
        x[rows] = prior + (observed[rows] - seen_of_prior) @ gain[k].T
    return x.view(len(y), draws, -1), mean


def _root(covariance: Tensor) -> Tensor:
    """A root R with R Rᵀ the covariance, which may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()
