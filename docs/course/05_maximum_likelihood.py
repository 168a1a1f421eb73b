# %% [markdown]
# # 5. Maximum likelihood and the Gaussian
#
# A model is a family $p_\theta$. Maximum likelihood chooses
#
# $$\hat\theta = \arg\max_\theta \frac{1}{n} \sum_{i=1}^n \log p_\theta(x_i) .$$
#
# As $n \to \infty$ the mean becomes $E_p \log p_\theta(x) = -H(p) - \mathrm{KL}(p \,\|\, p_\theta)$. The entropy of the
# data does not depend on $\theta$, so maximum likelihood minimises the Kullback-Leibler divergence *from the data to
# the model*.

# %%
import os
from functools import partial
from math import e, log, pi
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchvision.utils import make_grid

import pyrogen
from pyrogen.data import TOYS
from pyrogen.explicit import Gaussian

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # few steps, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)


# %% [markdown]
# ## The Gaussian in closed form
#
# $$\log p(x) = -\tfrac{1}{2} (x - \mu)^\top \Sigma^{-1} (x - \mu) - \tfrac{1}{2} \log \det (2\pi\Sigma) .$$
#
# Setting the derivatives to zero gives the mean and the covariance of the data, with divisor $n$:
#
# $$\hat\mu = \frac{1}{n} \sum_i x_i, \qquad \hat\Sigma = \frac{1}{n} \sum_i (x_i - \hat\mu)(x_i - \hat\mu)^\top .$$
#
# `pyrogen/explicit/gaussian.py`:
#
# ```python
# mean = flat.mean(0)
# ```
#
# The covariance is computed of standardised data, as a correlation, and is stored by its inverse Cholesky factor:
#
# `pyrogen/explicit/gaussian.py`:
#
# ```python
# correlation = z.T @ z / z.shape[0]
# ```
#
# At the maximum the quadratic form has the mean $d$, so the log-likelihood of the training data is
#
# $$\frac{1}{n} \sum_i \log p_{\hat\theta}(x_i) = -\tfrac{1}{2} \log \det(2 \pi e \hat\Sigma) .$$

# %%
toy = TOYS["gaussian"]()
x = toy.sample(2000)
fitted = Gaussian.from_data(x, "full")
with torch.no_grad():
    p_x = fitted.distribution()
    print("μ =", p_x.mean.tolist(), "\nΣ =", p_x.covariance_matrix.tolist())
    value = float(fitted.log_prob(x).mean())
covariance = torch.cov(x.double().T, correction=0)
assert torch.allclose(p_x.covariance_matrix.double(), covariance, atol=1e-4)
assert abs(value + 0.5 * float(torch.logdet(2 * pi * e * covariance))) < 1e-4

# %% [markdown]
# ## By gradients
#
# Models without a closed form follow the gradient of the log-likelihood on batches. For a Gaussian both can be
# compared. In Pyro's terms this is stochastic variational inference with an empty guide: there is no latent variable,
# so the ELBO is the log-likelihood itself.
#
# `pyrogen/explicit/gaussian.py`:
#
# ```python
# pyro.sample("x", self.distribution(), obs=x.flatten(1))
# ```

# %%
steps = 50 if SMOKE else 1500
learned = Gaussian(x.shape[1:], "full")
step = pyrogen.SVI(
    learned.model, optim=partial(Adam, lr=0.03), schedule=partial(CosineAnnealingLR, T_max=steps), compile=False
)
losses = [float(logs["loss"]) for _, logs in pyrogen.fit(step, x, steps=steps, batch_size=500, seed=0)]
with torch.no_grad():
    print(f"closed form {value:.4f}, by gradients {float(learned.log_prob(x).mean()):.4f} nats")

# %% [markdown]
# The gradient vanishes at the closed form:

# %%
gradients = torch.autograd.grad(fitted.log_prob(x).mean(), [fitted.shift, fitted.log_diagonal, fitted.lower_triangle])
print("largest derivative at the maximum:", float(max(g.abs().max() for g in gradients)))
assert all(float(g.abs().max()) < 1e-4 for g in gradients)

# %% [markdown]
# ## Which divergence?
#
# For Gaussians the divergence has a closed form; in one dimension
#
# $$\mathrm{KL}(N(m, s^2)\,\|\,N(\mu, \sigma^2))
#   = \log\frac{\sigma}{s} + \frac{s^2 + (m - \mu)^2}{2\sigma^2} - \frac12 .$$
#
# It is not symmetric. If the model cannot represent $p$, the direction matters. $\mathrm{KL}(p \,\|\, q)$, that of
# maximum likelihood, is large where $p > 0$ and $q \approx 0$: the model *covers* all modes. $\mathrm{KL}(q \,\|\, p)$,
# that of variational inference, is large where $q > 0$ and $p \approx 0$: the model *seeks* one mode. The chapters on
# adversarial training come back to this.

# %%
t = torch.linspace(-7, 7, 1401, dtype=torch.float64)
dt = float(t[1] - t[0])
normal = torch.distributions.Normal


def log_p(x: torch.Tensor) -> torch.Tensor:
    """A mixture of two Gaussians with weights 0.65 and 0.35."""
    parts = [log(w) + normal(m, s).log_prob(x) for w, m, s in ((0.65, -2.0, 0.7), (0.35, 2.2, 0.9))]
    return torch.logaddexp(*parts)


p = log_p(t).exp()
mus, sigmas = torch.linspace(-4, 4, 161, dtype=torch.float64), torch.linspace(0.3, 4, 149, dtype=torch.float64)
log_q = normal(mus[:, None, None], sigmas[None, :, None]).log_prob(t)
forward = (p * (log_p(t) - log_q)).sum(-1) * dt
reverse = (log_q.exp() * (log_q - log_p(t))).sum(-1) * dt

figure, panels = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
panels[0].fill_between(t.numpy(), p.numpy(), color="0.85", label="p")
for axes, values, name, colour in (
    (panels[1], forward, "KL(p ‖ q)", "tab:blue"),
    (panels[2], reverse, "KL(q ‖ p)", "tab:red"),
):
    i, j = divmod(int(values.argmin()), len(sigmas))
    axes.contourf(mus.numpy(), sigmas.numpy(), values.T.clamp(max=6).numpy(), levels=24, cmap="Greys")
    axes.plot(mus[i], sigmas[j], "o", color=colour)
    axes.set(title=f"{name}: minimum {float(values.min()):.2f} nats", xlabel="μ")
    panels[0].plot(t, normal(mus[i], sigmas[j]).log_prob(t).exp(), color=colour, label=f"q with the least {name}")
panels[1].set_ylabel("σ")
panels[0].set(title="one Gaussian for two modes", xlabel="x", ylim=(0, 0.62))
panels[0].legend(frameon=False, fontsize=9)
figure.savefig(OUT / "05_divergences.png", dpi=120)

# %% [markdown]
# The minimum of $\mathrm{KL}(p \,\|\, q)$ matches the moments of $p$, as $\hat\mu$ and $\hat\Sigma$ do:

# %%
mean = float((p * t).sum() * dt)
variance = float((p * (t - mean) ** 2).sum() * dt)
i, j = divmod(int(forward.argmin()), len(sigmas))
print(f"moments of p: {mean:.2f}, {variance**0.5:.2f}; minimum: {float(mus[i]):.2f}, {float(sigmas[j]):.2f}")
assert abs(mean - float(mus[i])) < 0.05
assert abs(variance**0.5 - float(sigmas[j])) < 0.05

# %% [markdown]
# ## Images
#
# A Gaussian with a full covariance is a serious density model of small images, and a poor sampler: its samples have the
# second moments of digits, and nothing else.

# %%
digits = pyrogen.load("digits")
x, _ = digits.train.tensors()
x_test, _ = digits.test.tensors()
rows = {"data": x_test[:12]}
with torch.no_grad():
    for name in ("diagonal", "full"):
        model = Gaussian.from_data(x, name)
        rows[f"{name}\n{float(model.log_prob(x_test).mean()):.1f} nats"] = model.sample(12)
figure, axes = plt.subplots(figsize=(9, 2.5), layout="constrained")
tiles = make_grid(torch.cat(list(rows.values())).reshape(-1, 1, 8, 8), nrow=12)[0]
axes.imshow(tiles.numpy(), cmap="gray_r", vmin=0, vmax=1)
axes.set_yticks([5.5, 15.5, 25.5], list(rows))
axes.set_xticks([])
figure.savefig(OUT / "05_samples.png", dpi=120)

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Verify the closed form of the KL divergence between two Gaussians by Monte Carlo.
#
# **Exercise 2.** The estimate $\hat\Sigma$ with divisor $n$ is biased. Measure the bias of the variance in one
# dimension for $n = 5$, and the log-likelihood of new data under the divisors $n$, $n - 1$ and $n - 2$.
#
# **Exercise 3.** Show that the likelihood of a mixture of two Gaussians has no maximum.

# %% [markdown]
# ### Solution 1
#
# $\mathrm{KL}(q \,\|\, p) = E_q[\log q - \log p]$; the error of the mean of $n$ draws is their standard deviation over
# $\sqrt n$.

# %%
q, other = normal(1.0, 0.5), normal(0.0, 2.0)
draws = q.sample((100_000,))
terms = q.log_prob(draws) - other.log_prob(draws)
closed = log(2.0 / 0.5) + (0.5**2 + 1.0**2) / (2 * 2.0**2) - 0.5
error = float(terms.std()) / len(terms) ** 0.5
print(f"closed form {closed:.4f}, Monte Carlo {float(terms.mean()):.4f} ± {error:.4f} nats")
assert abs(closed - float(terms.mean())) < 5 * error

# %% [markdown]
# ### Solution 2
#
# $E\hat\sigma^2 = \frac{n-1}{n} \sigma^2$. An unbiased variance is not the best one for prediction: too small a
# $\sigma$ costs more likelihood than too large a one, so larger variances than the unbiased one predict better.

# %%
rows = torch.randn(20_000, 5)
sums = (rows - rows.mean(1, keepdim=True)).square().sum(1)
print("mean of σ̂²:", float((sums / 5).mean()), "expected 0.8")
new = torch.randn(20_000)
for divisor in (5, 4, 3):
    score = normal(rows.mean(1), (sums / divisor).sqrt()).log_prob(new).mean()
    print(f"divisor {divisor}: {float(score):.3f} nats per new datum")

# %% [markdown]
# ### Solution 3
#
# Put one component on a datum, $\mu_1 = x_1$, and let $\sigma_1 \to 0$: the density at $x_1$ grows without bound, while
# the other component keeps the remaining data finite. `GaussianMixture` therefore has a smallest standard deviation.

# %%
data = torch.randn(100, dtype=torch.float64)
for s in (1e-4, 1e-8, 1e-16, 1e-32):
    mixture = torch.logaddexp(normal(data[0], s).log_prob(data), normal(0.0, 1.0).log_prob(data)) - log(2)
    print(f"σ₁ = {s:g}: {float(mixture.sum()):.1f} nats")
