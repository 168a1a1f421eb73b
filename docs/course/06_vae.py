# %% [markdown]
# # 6. The variational autoencoder
#
# A VAE is a latent-variable model whose decoder is a network:
#
# $$z \sim N(0, I), \qquad x \mid z \sim p_\theta(x \mid z),
#   \qquad p_\theta(x) = \int p_\theta(x \mid z) p(z)\, \mathrm{d}z .$$
#
# The integral has no closed form, and neither has the posterior $p_\theta(z \mid x)$. The VAE maximises a lower bound.

# %%
import os
from functools import partial
from math import log
from pathlib import Path

import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

import pyrogen
from pyrogen.data import TOYS
from pyrogen.explicit import PPCA, VAE, GaussianLikelihood
from pyrogen.objectives import IWAE, BetaELBO

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # few steps, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)

# %% [markdown]
# ## The ELBO by Jensen's inequality
#
# For any density $q(z \mid x)$ the logarithm, which is concave, gives
#
# $$\log p(x) = \log E_q \frac{p(x, z)}{q(z \mid x)} \ \ge\ E_q \log \frac{p(x, z)}{q(z \mid x)}
#   = E_q[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z)) = \mathrm{ELBO}(x) .$$
#
# `pyrogen/objectives/elbo.py`:
#
# ```python
# return terms.observed - sum(beta * kl.sum(0) for kl, _ in terms.latent)
# ```
#
# (`beta` is 1 for the ELBO.) What Jensen's inequality loses, the *gap*, is again a divergence:
#
# $$\log p(x) - \mathrm{ELBO}(x) = \mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x)) .$$
#
# PPCA has an exact likelihood and a Gaussian posterior, so each of these statements can be checked. The guide
# below is the exact posterior, displaced by `shift` and widened by the factor `spread`:
#
# $$p(z \mid x) = N(m, s^2), \quad q = N(m + a, (b s)^2),
#   \quad \mathrm{KL}(q \,\|\, p(z \mid x)) = -\log b + \frac{b^2 + a^2/s^2 - 1}{2} .$$

# %%
toy = TOYS["gaussian"]()
x = toy.sample(500)
ppca = PPCA.from_data(x, latent=1)
with torch.no_grad():
    w, sigma2, mean = ppca.weight[:, 0], float((2 * ppca.log_sigma).exp()), ppca.mean
    posterior_std = (1 + float(w @ w) / sigma2) ** -0.5


def model(x: torch.Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z * w + mean, sigma2**0.5).to_event(1), obs=x)


def guide(x: torch.Tensor, shift: float = 0.0, spread: float = 1.0) -> None:
    with pyro.plate("data", len(x)):
        z = ppca.encode(x).detach() + shift
        pyro.sample("z", dist.Normal(z, spread * posterior_std).to_event(1))


with torch.no_grad():
    exact = float(ppca.log_prob(x).mean())
    for shift, spread in ((0.0, 1.0), (0.3, 1.0), (0.0, 2.0)):
        displaced = partial(guide, shift=shift, spread=spread)
        elbo = float(BetaELBO(particles=200).per_datum(model, displaced, x).mean())
        gap = -log(spread) + (spread**2 + (shift / posterior_std) ** 2 - 1) / 2
        print(f"a = {shift}, b = {spread}: ELBO {elbo:.4f}, log p(x) - KL = {exact - gap:.4f}, log p(x) = {exact:.4f}")
        assert abs(elbo - (exact - gap)) < 0.05

# %% [markdown]
# Importance weighting closes the gap from below, for any $q$ that is positive where the posterior is:
#
# $$\mathrm{ELBO} \le E_q \log \frac1k \sum_{i=1}^k \frac{p(x, z_i)}{q(z_i \mid x)} \le \log p(x) .$$
#
# `pyrogen/objectives/elbo.py`:
#
# ```python
# return log_w.logsumexp(0, keepdim=True) - log(self.particles)
# ```

# %%
displaced = partial(guide, shift=0.3, spread=1.5)
ks = (1, 2, 5, 10, 20, 50, 100)
with torch.no_grad():
    bounds = [float(torch.stack([IWAE(k).per_datum(model, displaced, x).mean() for _ in range(20)]).mean()) for k in ks]
    spreads, shifts = torch.linspace(0.3, 3, 60), torch.linspace(-0.8, 0.8, 61)
    of_spread = -spreads.log() + (spreads**2 - 1) / 2
    of_shift = (shifts / posterior_std) ** 2 / 2
figure, panels = plt.subplots(1, 3, figsize=(12, 3.3), sharey=True, layout="constrained")
for axes, at, gap, label in (
    (panels[0], shifts, of_shift, "displacement a"),
    (panels[1], spreads, of_spread, "relative width b"),
):
    axes.fill_between(at.numpy(), (exact - gap).numpy(), exact, color="tab:red", alpha=0.15)
    axes.plot(at, exact - gap, color="tab:red", label="ELBO")
    axes.set(xlabel=label, ylim=(exact - 2, exact + 0.2))
panels[2].plot(ks, bounds, "o-", label="IWAE, a = 0.3, b = 1.5")
panels[2].set(xscale="log", xlabel="importance samples k")
for axes in panels:
    axes.axhline(exact, color="black", lw=1, label="log p(x)")
    axes.legend(frameon=False, loc="lower center")
panels[0].set_ylabel("nats per datum")
figure.suptitle("Jensen's gap is KL(q ‖ posterior)")
figure.savefig(OUT / "06_gap.png", dpi=120)

# %% [markdown]
# ## The KL divergence in closed form
#
# The encoder gives $\mu$ and $\log\sigma$ of $q(z \mid x) = N(\mu, \operatorname{diag} \sigma^2)$. Against $N(0, I)$,
#
# $$\mathrm{KL}(q \,\|\, p) = \frac12 \sum_j \left(\mu_j^2 + \sigma_j^2 - \log \sigma_j^2 - 1\right) .$$
#
# pyrogen takes it, for each coordinate, from torch's table of closed forms:
#
# `pyrogen/objectives/elbo_terms.py`:
#
# ```python
# kl = kl_divergence(q.base_dist, p.base_dist)
# ```

# %%
mu, log_std = torch.randn(6, 4), 0.5 * torch.randn(6, 4)
closed = 0.5 * (mu**2 + (2 * log_std).exp() - 2 * log_std - 1).sum(1)
q, p = dist.Normal(mu, log_std.exp()).to_event(1), dist.Normal(torch.zeros(6, 4), 1.0).to_event(1)
z = q.sample((20_000,))
draws = q.log_prob(z) - p.log_prob(z)
error = draws.std(0) / len(z) ** 0.5
print("closed form:", [round(v, 3) for v in closed.tolist()])
print("Monte Carlo:", [round(v, 3) for v in draws.mean(0).tolist()])
assert bool(((closed - draws.mean(0)).abs() < 5 * error).all())

# %% [markdown]
# ## Reparameterisation
#
# The bound is an expectation under $q_\phi$, whose parameters are to be learned. Write the draw as a function of noise
# that does not depend on them, and differentiate through it:
#
# $$z = \mu + \sigma \varepsilon, \quad \varepsilon \sim N(0, I): \qquad
#   \nabla_\phi E_{q_\phi} f(z) = E_\varepsilon \nabla_\phi f(\mu + \sigma\varepsilon) .$$
#
# The guide names the distribution, and Pyro draws from it by `rsample`, which is this formula:
#
# `pyrogen/explicit/latent.py`:
#
# ```python
# pyro.sample("z", self.posterior_dist(x, y))
# ```
#
# The alternative, the score-function estimator $E_q[f(z) \nabla_\phi \log q_\phi(z)]$, needs no derivative of $f$. It
# has the same mean, and a far larger variance. For $f(z) = (z - 2)^2$ the exact derivative with respect to $\mu$ is
# $2(\mu - 2)$.

# %%
mu0, std0, n = 0.5, 1.0, 20_000
noise = torch.randn(n)
z = mu0 + std0 * noise
pathwise = 2 * (z - 2)
score = (z - 2) ** 2 * (z - mu0) / std0**2
print(f"exact {2 * (mu0 - 2):.2f}; pathwise {float(pathwise.mean()):.2f}, score function {float(score.mean()):.2f}")
print(f"standard deviation of one draw: pathwise {float(pathwise.std()):.2f}, score function {float(score.std()):.2f}")
assert float(score.std()) > 2 * float(pathwise.std())

# %% [markdown]
# ## σ² is a weight
#
# With a Gaussian likelihood of fixed $\sigma$,
#
# $$-\log p(x \mid z) = \frac{1}{2\sigma^2} \|x - g(z)\|^2 + \frac d2 \log (2\pi\sigma^2),$$
#
# so minus the ELBO, multiplied by $2\sigma^2$ and without the constant, is
# $E_q \|x - g(z)\|^2 + 2\sigma^2\, \mathrm{KL}$: the squared error of the autoencoder plus a penalty whose weight is
# $2\sigma^2$. A "β-VAE" with a mean squared error is a VAE with another $\sigma$. The maximum-likelihood $\sigma^2$ is
# the mean squared error itself, so it can be learned.
#
# `pyrogen/explicit/likelihoods.py`:
#
# ```python
# return dist.Normal(self.mean(h), self.log_sigma.exp(), validate_args=False)
# ```

# %%
data = pyrogen.load("digits")
x_train, _ = data.train.tensors()
x_test, y_test = data.test.tensors()


def train(sigma: float | str, steps: int = 1500) -> VAE:
    """A VAE with two latent variables and the given σ."""
    steps = 20 if SMOKE else steps
    vae = VAE(data.shape, 2, (256, 128), GaussianLikelihood(sigma), mean=x_train.mean(0))
    schedule = partial(CosineAnnealingLR, T_max=steps)
    step = pyrogen.SVI(vae.model, vae.guide, partial(Adam, lr=2e-3), BetaELBO(), schedule=schedule, compile=False)
    for _ in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=0):
        pass
    return vae.eval()


figure, panels = plt.subplots(1, 3, figsize=(12, 4.0), layout="constrained")
vaes = {}
for axes, sigma in zip(panels, (0.05, "learned", 1.0), strict=True):
    vae = vaes[sigma] = train(sigma)
    with torch.no_grad():
        terms = BetaELBO().terms(vae.model, vae.guide, x_test)
        kl = float(sum(part.sum(0).mean() for part, _ in terms.latent))
        error = float((vae.decode(vae.encode(x_test)) - x_test).square().mean())
        codes, std = vae.encode(x_test), float(vae.likelihood.log_sigma.exp())
    axes.scatter(*codes.T, c=y_test, cmap="tab10", s=10, vmin=-0.5, vmax=9.5)
    for radius in (1, 2):
        axes.add_patch(plt.Circle((0, 0), radius, fill=False, color="0.4", lw=0.8))
    axes.set(aspect="equal", title=f"σ = {std:.2f}{' (learned)' if sigma == 'learned' else ''}")
    axes.set_xlabel(f"KL {kl:.2f} nats, squared error per pixel {error:.3f}")
    print(f"σ = {std:.3f}: ELBO {float(terms.observed.mean()) - kl:.2f}, KL {kl:.2f}, squared error {error:.4f}")
figure.suptitle("codes of test images by class, and the prior's circles of one and two standard deviations")
figure.savefig(OUT / "06_sigma.png", dpi=120)

# %% [markdown]
# A small $\sigma$ gives an autoencoder whose codes leave the prior; a large one gives a *collapsed* posterior: the KL
# divergence is 0, all codes are at the origin, and every reconstruction is the mean image. The learned $\sigma$ has the
# best bound.
#
# The decoder maps the whole prior to images. The picture shows $E[x \mid z]$ at quantiles of the prior, so that equal
# areas have equal probabilities.

# %%
n = 20
levels = torch.special.ndtri((torch.arange(n) + 0.5) / n)
with torch.no_grad():
    images = vaes["learned"].decode(torch.cartesian_prod(levels, levels)).view(n, n, 8, 8)
tiles = F.pad(images.flip(1).transpose(0, 1), (1, 1, 1, 1))  # rows from the largest z₂ down, a margin around each
figure, axes = plt.subplots(figsize=(6, 6), layout="constrained")
axes.imshow(tiles.permute(0, 2, 1, 3).reshape(10 * n, 10 * n).numpy(), cmap="gray_r", vmin=0, vmax=1)
axes.set(xticks=[], yticks=[], xlabel="z₁", ylabel="z₂", title="the prior, decoded")
figure.savefig(OUT / "06_prior.png", dpi=120)

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Show that for fixed $q$ and $g$ the best $\sigma^2$ is $E\|x - g(z)\|^2 / d$ with $z \sim q$, and
# verify it on the VAE with the learned $\sigma$.
#
# **Exercise 2.** Compute the bound of Jensen's inequality for $\log E[w]$ with $w = e^{s\varepsilon}$,
# $\varepsilon \sim N(0, 1)$. How large is the gap, and what does it say about the IWAE bound?
#
# **Exercise 3.** Draw samples of the VAE with and without the noise of the likelihood. Which are samples of $p(x)$?

# %% [markdown]
# ### Solution 1
#
# The derivative of $\frac{S}{2\sigma^2} + \frac d2 \log\sigma^2$ with respect to $\sigma^2$ vanishes at
# $\sigma^2 = S / d$.

# %%
vae = vaes["learned"]
with torch.no_grad():
    rest = (vae.decode(vae.posterior_dist(x_train).sample()) - x_train).square().mean()
    print(f"σ {float(vae.likelihood.log_sigma.exp()):.3f}, root of the mean squared residual {float(rest.sqrt()):.3f}")

# %% [markdown]
# ### Solution 2
#
# $\log E[w] = s^2 / 2$ and $E[\log w] = 0$: the gap is half the variance of $\log w$. The mean of $k$ weights has a
# smaller variance than one of them, so the bound is tighter; for large $s$ the gap closes slowly, because the mean is
# dominated by few large weights.

# %%
for s in (0.5, 1.0, 2.0):
    log_w = s * torch.randn(2000, 100)
    bound = float((log_w.logsumexp(1) - log(100)).mean())
    print(f"s = {s}: log E[w] {s**2 / 2:.3f}, E[log w] 0, with k = 100: {bound:.3f}")

# %% [markdown]
# ### Solution 3
#
# `sample` draws $x \sim p(x \mid z)$ and is a sample of the model; `sample_mean` returns $E[x \mid z]$, which looks
# better and has too little variance.

# %%
with torch.no_grad():
    noisy, clean = vae.sample(1000), vae.sample_mean(1000)
for name, images in {"data": x_test, "samples": noisy, "means": clean}.items():
    print(f"{name:8s} mean variance per pixel {float(images.var(0).mean()):.4f}")
