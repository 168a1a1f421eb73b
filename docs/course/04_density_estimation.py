# %% [markdown]
# # 4. Density estimation and the curse of dimension
#
# Given data $x_1, \dots, x_n \sim p$, estimate $p$. The classical estimators assume nothing but smoothness. In one
# dimension they are excellent. This chapter shows how they work, and why images need models with structure.

# %%
import os
from math import lgamma, log, pi
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import pyrogen
from pyrogen.data import TOYS
from pyrogen.explicit import Gaussian, Histogram, KernelDensity

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # fewer points, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)

# %% [markdown]
# ## The histogram
#
# Divide the range into cells $B_j$ of volume $v$ and count:
#
# $$\hat p(x) = \frac{\#\{i : x_i \in B_j\}}{n\, v} \quad \text{for } x \in B_j .$$
#
# A cell without training data would give a test datum there the density 0, and the log-likelihood $-\infty$. pyrogen's
# histogram mixes in a broad background density $q$ with a small weight $\varepsilon$:
# $(1 - \varepsilon)\hat p + \varepsilon q$.
#
# `pyrogen/explicit/histogram.py`:
#
# ```python
# return torch.logaddexp(counted, self._log_background(x.flatten(1)) + log(self.background))
# ```
#
# ## The kernel-density estimate
#
# Put a Gaussian of width $h$ at each datum:
#
# $$\hat p(x) = \frac{1}{n} \sum_{i=1}^n N(x;\ x_i, h^2 I_d) .$$
#
# `pyrogen/nn/kernel_density.py`:
#
# ```python
# (_squared_distances(part, points) / (-2 * h**2)).logsumexp(1) - constant
# ```
#
# $h$ is a trade-off of bias (too broad) against variance (a peak at each datum). The likelihood of held-out data
# decides; that of the training data would always prefer $h \to 0$.

# %%
line = TOYS["line"]()  # five Gaussians in one dimension
train, valid, test = line.sample(300), line.sample(300), line.sample(5000)
grid = torch.linspace(-6, 6, 1200)[:, None]
models = {
    "histogram, 40 bins": Histogram.from_data(train, 40),
    "kernel density, h = 0.05": KernelDensity(train, 0.05),
    "kernel density, best h": KernelDensity.from_data(train, valid),
    "kernel density, h = 1": KernelDensity(train, 1.0),
}
figure, panels = plt.subplots(1, 4, figsize=(12, 2.8), sharey=True, layout="constrained")
for axes, (name, model) in zip(panels, models.items(), strict=True):
    score = float(model.log_prob(test).mean())
    axes.fill_between(grid[:, 0].numpy(), line.log_prob(grid).exp().numpy(), color="0.85", label="p")
    axes.plot(grid, model.log_prob(grid).exp(), color="tab:red", lw=1.2)
    axes.set(title=name, xlabel=f"{score:.3f} nats per test datum", ylim=(0, 0.7))
panels[0].legend(frameon=False)
figure.savefig(OUT / "04_estimators.png", dpi=120)
print(
    f"best possible, minus the entropy: {-line.entropy:.3f} nats; "
    f"h = {float(models['kernel density, best h'].bandwidth):.3f}"
)

# %% [markdown]
# ## The curse of dimension
#
# A histogram with $b$ bins along each of $d$ dimensions has $b^d$ cells. For the digits, $17^{64} \approx 10^{79}$:
# almost all cells stay empty, whatever the number of data. Three further facts make the same point.
#
# **Volume.** A ball of radius 1 fills a vanishing part of the cube around it:
#
# $$\frac{V_d}{2^d} = \frac{\pi^{d/2}}{2^d\, \Gamma(d/2 + 1)} .$$
#
# **Distance.** The distances from a datum to the others become all alike: their standard deviation divided by their
# mean goes to 0, about as $1/\sqrt{2d}$ for a Gaussian. "Nearest" loses its meaning.
#
# **Rate.** The error of a kernel-density estimate decreases as $n^{-4/(4+d)}$. To halve the error takes $2^{(4+d)/4}$
# times the data: 2.4 times in one dimension, 131,072 times in 64.

# %%
dims = (1, 2, 4, 8) if SMOKE else (1, 2, 4, 8, 16, 32, 64)
ball = [pi ** (d / 2) / 2**d / torch.tensor(lgamma(d / 2 + 1)).exp().item() for d in dims]
spread, excess_kde, excess_gaussian = [], [], []
for d in dims:
    rows = torch.randn(1000, d)
    distances = torch.pdist(rows)
    spread.append(float(distances.std() / distances.mean()))
    held_out = torch.randn(1000, d)
    best = torch.distributions.Normal(0.0, 1.0).log_prob(held_out).sum(1).mean()
    kde = KernelDensity.from_data(rows, torch.randn(1000, d))
    # The loss against the true density is an estimate of KL(p ‖ p̂).
    excess_kde.append(float(best - kde.log_prob(held_out).mean()))
    with torch.no_grad():
        excess_gaussian.append(float(best - Gaussian.from_data(rows, "full").log_prob(held_out).mean()))
    print(f"d = {d:2d}: KL of the KDE {excess_kde[-1]:6.3f} nats, of the Gaussian {excess_gaussian[-1]:6.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(dims, ball, "o-", label="volume of the ball / cube")
left.plot(dims, spread, "s-", label="spread of distances / mean")
left.set(xscale="log", yscale="log", xlabel="dimension d", ylim=(1e-8, 3), title="geometry")
right.plot(dims, excess_kde, "o-", label="kernel density")
right.plot(dims, excess_gaussian, "s-", label="Gaussian, full covariance")
right.set_yscale("log", nonpositive="mask")  # in one dimension the estimate can be below 0
right.set(xscale="log", xlabel="dimension d", ylabel="KL(p ‖ p̂), nats", title="1,000 data of N(0, I)")
for axes in (left, right):
    axes.set_xticks(dims, [str(d) for d in dims])
    axes.minorticks_off()
    axes.legend(frameon=False)
figure.savefig(OUT / "04_dimension.png", dpi=120)

# %% [markdown]
# The Gaussian, which has the right structure here, needs $d(d+3)/2$ parameters. Its expected divergence is half a nat
# for each parameter, divided by the number of data:
#
# $$E\, \mathrm{KL}(p\ \|\ p_{\hat\theta}) \approx \frac{\#\theta}{2n} .$$
#
# This is what models are for. They exchange the assumption "smooth" for a stronger one.

# %%
for d, excess in zip(dims, excess_gaussian, strict=True):
    print(f"d = {d:2d}: measured {excess:6.3f}, #θ / 2n = {d * (d + 3) / 2 / 2000:6.3f}")

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Verify that the kernel-density estimate above integrates to 1, and compute the log-likelihood of its
# own training data as $h \to 0$.
#
# **Exercise 2.** Silverman's rule for a Gaussian in one dimension is $h = 1.06\, \hat\sigma\, n^{-1/5}$. Compare it
# with the best $h$ on `line`, and explain the difference.
#
# **Exercise 3.** Score a kernel-density estimate and a full Gaussian on the digits, 64 dimensions.

# %% [markdown]
# ### Solution 1
#
# The training likelihood grows without bound: the kernel at $x_i$ itself contributes
# $\log(1 / n) - d \log(h \sqrt{2\pi})$.

# %%
kde = models["kernel density, best h"]
wide = torch.linspace(-12, 12, 5000)
print("integral:", float(torch.trapezoid(kde.log_prob(wide[:, None]).exp(), wide)))
for h in (0.1, 0.01, 0.001):
    own, other = (float(KernelDensity(train, h).log_prob(rows).mean()) for rows in (train, test))
    print(f"h = {h}: training {own:.2f}, test {other:.2f} nats")

# %% [markdown]
# ### Solution 2
#
# The rule takes the standard deviation of all data, 2.8, as the scale of the structure, but the modes have a standard
# deviation of 0.25. It is several times too broad.

# %%
silverman = 1.06 * float(train.std()) * len(train) ** -0.2
print(f"Silverman h = {silverman:.2f}, best on validation data h = {float(kde.bandwidth):.2f}")
print(
    f"test: {float(KernelDensity(train, silverman).log_prob(test).mean()):.3f}, {float(kde.log_prob(test).mean()):.3f}"
)
assert silverman > 2 * float(kde.bandwidth)

# %% [markdown]
# ### Solution 3

# %%
digits = pyrogen.load("digits")
(x, _), (x_valid, _), (x_test, _) = (part.tensors() for part in (digits.train, digits.valid, digits.test))
with torch.no_grad():
    for name, model in {
        "kernel density": KernelDensity.from_data(x, x_valid),
        "Gaussian": Gaussian.from_data(x, "full"),
    }.items():
        print(f"{name:15s} {float(model.log_prob(x_test).mean()):6.2f} nats per image")
print(f"uniform on the cube: {64 * log(1.0):6.2f}")
