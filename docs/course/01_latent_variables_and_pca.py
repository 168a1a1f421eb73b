# %% [markdown]
# # 1. Latent variables and PCA
#
# A *latent-variable model* explains data $x$ by variables $z$ that were not observed. It consists of a prior $p(z)$ and
# a conditional density $p(x \mid z)$, and the density of the data is the marginal
#
# $$p(x) = \int p(x \mid z)\, p(z)\, \mathrm{d}z .$$
#
# In most models of this course the integral has no closed form. Probabilistic PCA is the case in which it has one, and
# in which every other quantity (posterior, maximum likelihood) is known as well. The later chapters use it as a check.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torchvision.utils import make_grid

import pyrogen
from pyrogen.data import TOYS
from pyrogen.explicit import PPCA
from pyrogen.reconstruction import PCA

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # fewer images, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)


# %% [markdown]
# ## Probabilistic PCA
#
# $$z \sim N(0, I_k), \qquad x \mid z \sim N(Wz + \mu, \sigma^2 I_d),
#   \qquad p(x) = N(x;\ \mu,\ WW^\top + \sigma^2 I_d).$$
#
# The marginal is a Gaussian because $x$ is a linear function of two independent Gaussians. It is one line of the model:
#
# `pyrogen/explicit/ppca.py`:
#
# ```python
# return dist.LowRankMultivariateNormal(self.mean, self.weight, variance, validate_args=False)
# ```
#
# Maximum likelihood has a closed form (Tipping and Bishop, 1999). With the eigenvalues $\lambda_1 \ge \dots \ge
# \lambda_d$ of the covariance of the data and the eigenvectors $u_1, \dots, u_d$,
#
# $$\sigma^2 = \frac{1}{d-k} \sum_{i > k} \lambda_i,
#   \qquad W = \left[u_i \sqrt{\lambda_i - \sigma^2}\right]_{i \le k}.$$
#
# `pyrogen/explicit/ppca.py`:
#
# ```python
# variance = values[:-latent].mean()
# ```
#
# `pyrogen/explicit/ppca.py`:
#
# ```python
# fitted.weight.copy_(vectors[:, -latent:] * (values[-latent:] - variance).clamp_min(0).sqrt())
# ```
#
# What PCA leaves out is not lost: the mean of the discarded variances is the noise.

# %%
toy = TOYS["gaussian"]()  # standard deviations 2 and 1, correlation 0.8
x = toy.sample(1000)
ppca = PPCA.from_data(x, latent=1)
print("W =", ppca.weight.detach().flatten().tolist(), " σ² =", float((2 * ppca.log_sigma.detach()).exp()))

# %% [markdown]
# The closed-form marginal against the integral, by the trapezoidal rule over $z$:

# %%
z = torch.linspace(-8, 8, 2001)[:, None]
with torch.no_grad():
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 0])
    log_joint = log_prior + ppca.observation_dist(z).log_prob(x[:5, None]).sum(-1)
    integral = torch.trapezoid(log_joint.exp(), z[:, 0], dim=1).log()
    exact = ppca.log_prob(x[:5])
print("log p(x), closed form:", exact.tolist())
print("log p(x), integral:   ", integral.tolist())
assert torch.allclose(exact, integral, atol=1e-3)

# %% [markdown]
# ## The posterior
#
# Bayes' rule gives $p(z \mid x)$, again a Gaussian, with mean
#
# $$E[z \mid x] = (W^\top W + \sigma^2 I)^{-1} W^\top (x - \mu).$$
#
# `pyrogen/explicit/ppca.py`:
#
# ```python
# return torch.linalg.solve(inner, self.weight.T @ (x.flatten(1) - self.mean).T).T
# ```
#
# The reconstruction $W\,E[z \mid x] + \mu$ is *shrunk* towards the mean: the model knows that a part of the distance
# from the mean is noise. As $\sigma \to 0$ the shrinkage disappears, and the reconstruction becomes the orthogonal
# projection, which is PCA:
#
# $$z = W (x - \mu), \qquad \hat x = W^\top z + \mu, \qquad W \text{ the } k \text{ leading eigenvectors, as rows}.$$
#
# `pyrogen/reconstruction/pca.py`:
#
# ```python
# return (x.flatten(1) - self.mean) @ self.components.T
# ```

# %%
pca = PCA.from_data(x, latent=1)
some = x[:60]
with torch.no_grad():
    by_ppca, by_pca = ppca.decode(ppca.encode(some)), pca.reconstruct(some)
    grid = torch.cartesian_prod(torch.linspace(-6.5, 6.5, 200), torch.linspace(-3.5, 3.5, 120))
    density = ppca.log_prob(grid).exp().view(200, 120).T

figure, panels = plt.subplots(1, 2, figsize=(10, 3.4), sharex=True, sharey=True, layout="constrained")
for axes, reconstructed, title in zip(
    panels, (by_pca, by_ppca), ("PCA: orthogonal projection", "PPCA: posterior mean, shrunk"), strict=True
):
    axes.contourf(grid[:, 0].view(200, 120)[:, 0], grid[:120, 1], density.numpy(), levels=8, cmap="Blues", alpha=0.6)
    axes.plot(*torch.stack([some, reconstructed]).permute(2, 0, 1), color="0.5", lw=0.8)
    axes.scatter(*some.T, s=14, color="0.2", label="x")
    axes.scatter(*reconstructed.T, s=14, color="tab:red", label="reconstruction")
    axes.set(title=title, aspect="equal", xlabel="x₁")
panels[0].set_ylabel("x₂")
panels[0].legend(loc="upper left")
figure.savefig(OUT / "01_projection.png", dpi=120)

# %% [markdown]
# ## Digits
#
# The data set `digits` has 1,797 images of 8 × 8 pixels: 64 dimensions. The covariance of the data has 64 eigenvectors,
# which are images themselves.

# %%
data = pyrogen.load("digits")
x, y = data.train.tensors()
x_test, y_test = data.test.tensors()
pca = PCA.from_data(x, latent=32)
scores = pca.encode(x_test)

figure = plt.figure(figsize=(10, 4.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
axes = left.subplots()
points = axes.scatter(scores[:, 0], scores[:, 1], c=y_test, cmap="tab10", s=12, vmin=-0.5, vmax=9.5)
axes.set(xlabel="first component", ylabel="second component", title="test images in the plane of two components")
left.colorbar(points, ticks=range(10), label="class")
for k, axes in enumerate(right.subplots(3, 4).flat):
    image = pca.components[k].view(8, 8)
    axes.imshow(image.numpy(), cmap="RdBu", vmin=-0.35, vmax=0.35)
    axes.set_title(f"u{k + 1}", fontsize=9)
    axes.axis("off")
figure.savefig(OUT / "01_digits.png", dpi=120)

# %% [markdown]
# PPCA has what PCA has not: a likelihood, by which the number of components can be chosen on held-out data.

# %%
x_valid, _ = data.valid.tensors()
for k in (1, 5) if SMOKE else (1, 2, 5, 10, 20, 30, 40, 60):
    model = PPCA.from_data(x, latent=k)
    with torch.no_grad():
        print(f"k = {k:2d}: {float(model.log_prob(x_valid).mean()):6.2f} nats per validation image")

# %% [markdown]
# The likelihood rises up to 60 components: PPCA has one $\sigma$ for all pixels, but the pixels in the corners are
# nearly constant and those in the middle are not, so each further component lets $\sigma$ come closer to the smallest
# noise. *Factor analysis*, with a $\sigma_i$ for each pixel, needs fewer.

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Show that the mean squared error of PCA on its training data is the sum of the discarded eigenvalues,
# divided by $d$, and verify it for $k = 10$.
#
# **Exercise 2.** $W$ is determined only up to a rotation: replace $W$ by $WR$ with $R$ orthogonal and show that $p(x)$
# is the same. What does this mean for the interpretation of latent variables?
#
# **Exercise 3.** Draw samples of PPCA with 20 components, with and without the observation noise $\sigma$.

# %% [markdown]
# ### Solution 1
#
# $\hat x - x$ is the projection on $u_{k+1}, \dots, u_d$, so
# $E\|\hat x - x\|^2 = \sum_{i>k} u_i^\top \Sigma u_i = \sum_{i>k} \lambda_i$.

# %%
eigenvalues = torch.linalg.eigvalsh(torch.cov(x.flatten(1).double().T, correction=0))
error = PCA.from_data(x, latent=10).loss(x)
print(float(error), float(eigenvalues[:-10].sum() / 64))
assert abs(float(error) - float(eigenvalues[:-10].sum() / 64)) < 1e-6

# %% [markdown]
# ### Solution 2
#
# $(WR)(WR)^\top = W R R^\top W^\top = WW^\top$, and $W$ enters $p(x)$ by $WW^\top$ alone. The likelihood cannot tell
# one set of axes of the latent space from another: single coordinates have no meaning by themselves.

# %%
model = PPCA.from_data(x, latent=10)
with torch.no_grad():
    before = model.log_prob(x_test)
    rotation, _ = torch.linalg.qr(torch.randn(10, 10))
    model.weight.copy_(model.weight @ rotation)
    after = model.log_prob(x_test)
print("largest change of log p(x):", float((after - before).abs().max()), "nats")
assert torch.allclose(before, after, atol=1e-2)

# %% [markdown]
# ### Solution 3
#
# `sample` adds the noise; `decode` of latents drawn from $p(z)$ does not.

# %%
model = PPCA.from_data(x, latent=20)
with torch.no_grad():
    noisy, clean = model.sample(10), model.decode(torch.randn(10, 20))
figure, axes = plt.subplots(figsize=(8, 1.8), layout="constrained")
tiles = make_grid(torch.cat([noisy, clean]).reshape(-1, 1, 8, 8), nrow=10)[0]
axes.imshow(tiles.numpy(), cmap="gray_r", vmin=0, vmax=1)
axes.set_yticks([5.5, 15.5], ["x ~ p(x)", "E[x | z]"])
axes.set_xticks([])
figure.savefig(OUT / "01_samples.png", dpi=120)
