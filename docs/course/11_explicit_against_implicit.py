# %% [markdown]
# # 11. Explicit against implicit
#
# The course had two kinds of models. *Explicit* ones have a likelihood, exact (Gaussian, PPCA, flows) or bounded from
# below (VAE, VQ-VAE), and are trained by
#
# $$\min_\theta \mathrm{KL}(p \,\|\, p_\theta).$$
#
# *Implicit* ones have samples only, and are trained by a game whose value is an estimate of another divergence. This
# chapter compares both on data whose density is known, and asks what a likelihood and a sample can tell about each
# other.

# %%
import os
from math import log
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import pyrogen
from pyrogen import use
from pyrogen.explicit import Gaussian, KernelDensity
from pyrogen.measure import CriticBudget, jensen_shannon, js_by_critic, sliced_wasserstein
from pyrogen.recipes import recipe

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # few steps, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)

# %% [markdown]
# ## Three questions
#
# With the true density $p$ and the model $q$:
#
# 1. *Does the model cover the data?* $E_p[\log q(x)] \le -H(p)$, the log-likelihood of test data, for explicit models
#    only. The distance from the bound is $\mathrm{KL}(p \,\|\, q)$.
# 2. *Are the samples plausible?* $E_q[\log p(x)]$, which needs the true density and is therefore out of reach for real
#    data. A model that draws from one mode only can exceed the value of the data themselves, $-H(p)$.
# 3. *Are both distributions alike?* A distance between samples, such as the sliced Wasserstein distance
#    $\int W_1(\theta^\top p, \theta^\top q)\, \mathrm{d}\theta$, for both kinds.
#
# `pyrogen/measure/divergence.py`:
#
# ```python
# return Score(float(each.mean()), error, "estimate", "data", {"n": min(len(a), len(b)), "directions": directions})
# ```
#
# For the VAE question 1 has a bound as an answer: the importance-weighted one of chapter 6, here with $k = 100$,
#
# $$E_q \log \frac1k \sum_i \frac{p(x, z_i)}{q(z_i \mid x)} \le \log p(x) .$$

# %%
data = pyrogen.load("moons")
truth, space = data.truth, data.space
x_test = data.test.tensors()[0][:1000]
steps = 10 if SMOKE else 1500
setups = {
    "flow": recipe("maf")(data, steps=steps, layers=3, hidden=(64, 64)),
    "VAE": recipe("vae")(data, steps=steps, latent=2, hidden=(128, 128)),
    "GAN": recipe("gan")(data, steps=steps, latent=4, hidden=(128, 128)),
    "WGAN-GP": recipe("wgan-gp")(data, steps=steps, latent=4, hidden=(128, 128)),
}
panel_rows = {"data": (space.to_user(x_test), -truth.entropy, None)}
for name, setup in setups.items():
    torch.manual_seed(0)
    for _ in pyrogen.fit(setup.step, setup.data.train, steps=steps, batch_size=256, seed=0):
        pass
    model = setup.model.eval()
    samples = space.to_user(model.sample(1000))
    likelihood = None
    if name in ("flow", "VAE"):
        # In the units of the data: the density of standardised rows, times the Jacobian of the standardisation.
        likelihood = float(use.log_likelihoods(model, x_test, k=100).mean()) + space.log_det
    panel_rows[name] = samples, float(truth.log_prob(samples).mean()), likelihood

figure, panels = plt.subplots(1, len(panel_rows), figsize=(13, 2.6), sharex=True, sharey=True, layout="constrained")
for axes, (name, (samples, plausible, likelihood)) in zip(panels, panel_rows.items(), strict=True):
    distance = sliced_wasserstein(samples, truth.sample(1000, torch.Generator().manual_seed(1))).value
    axes.scatter(*samples.T, s=3, alpha=0.6, color="0.3" if name == "data" else "tab:red")
    says = "no likelihood" if likelihood is None else f"E_p[log q] {likelihood:.2f}"
    says = f"-H(p) {-truth.entropy:.2f}" if name == "data" else says
    axes.set(title=name, aspect="equal", xlim=(-1.6, 2.6), ylim=(-1.1, 1.6))
    axes.set_xlabel(f"{says}\nE_q[log p] {plausible:.2f}, SW {distance:.3f}")
    print(f"{name:8s} {says}; E_q[log p] {plausible:.2f} nats; sliced W₁ {distance:.3f}")
figure.savefig(OUT / "11_moons.png", dpi=120)

# %% [markdown]
# Compare each column with that of the data. The likelihood of an explicit model has an upper bound, $-H(p)$, and the
# distance from it, in nats, says how much is missing: little for the flow, much for the VAE, whose Gaussian noise blurs
# the moons. The GAN has a sliced Wasserstein distance near that of a second sample of the data. The points that it
# draws between the moons are seen by $E_q[\log p]$ alone, which is known here because the data are artificial.
#
# ## A good likelihood with bad samples
#
# Let $q$ be a good model of $d$-dimensional data, and mix in noise $r$ with the weight 99%:
#
# $$\log(0.01\, q(x) + 0.99\, r(x)) \ge \log q(x) - \log 100 .$$
#
# The log-likelihood decreases by at most $\log 100 = 4.6$ nats, whatever $d$, although 99 of 100 samples are noise
# (Theis, van den Oord and Bethge, 2016). On images, whose likelihoods differ by tens or hundreds of nats, this is
# little.
#
# ## Good samples with a bad likelihood
#
# A model that stores the training data and returns them has perfect samples. As a density (a kernel density with a tiny
# bandwidth) it gives almost no mass to new data.
#
# `pyrogen/explicit/kde.py`:
#
# ```python
# return chosen + self.bandwidth * torch.randn_like(chosen)
# ```

# %%
digits = pyrogen.load("digits")
(x, _), (x_valid, _), (x_new, _) = (part.tensors() for part in (digits.train, digits.valid, digits.test))
with torch.no_grad():
    good = KernelDensity.from_data(x, x_valid)
    log_q, log_noise = good.log_prob(x_new), torch.zeros(len(x_new))  # uniform noise on the unit cube: density 1
    mixed = torch.logaddexp(log_q + log(0.01), log_noise + log(0.99))
    copier = KernelDensity(x, 0.02)
    scores = {
        "kernel density": float(log_q.mean()),
        "1% of it, 99% noise": float(mixed.mean()),
        "memory, h = 0.02": float(copier.log_prob(x_new).mean()),
        "Gaussian": float(Gaussian.from_data(x, "full").log_prob(x_new).mean()),
    }
    assert bool((log_q - mixed < log(100) + 1e-3).all())
    noise_samples = torch.where(torch.rand(10, 1, 1, 1) < 0.01, good.sample(10), torch.rand(10, 1, 8, 8))
    drawn = [good.sample(10), noise_samples, copier.sample(10), Gaussian.from_data(x, "full").sample(10)]

figure, panels = plt.subplots(4, 10, figsize=(10, 4.2), layout="constrained")
for row, (name, score), images in zip(panels, scores.items(), drawn, strict=True):
    for axes, image in zip(row, images, strict=True):
        axes.imshow(image[0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"{name}\n{score:.1f} nats", rotation=0, ha="right", va="center")
    print(f"{name:20s} {score:8.1f} nats per test image")
figure.savefig(OUT / "11_likelihood_and_samples.png", dpi=120)

# %% [markdown]
# ## Which one, then?
#
# | | explicit | implicit |
# |---|---|---|
# | trained by | $\mathrm{KL}(p \,\Vert\, q)$ or a bound on it | a game, JS or $W_1$ |
# | fails by | spreading mass where there are no data | leaving out modes |
# | progress is seen in | the likelihood of held-out data | samples, and distances between samples |
# | network | restricted (flows), or with a posterior (VAE) | any |
# | uses | compression, outliers, missing values, comparison of models | sampling |
#
# No single number ranks both kinds. `pyrogen compare` therefore reports likelihoods where they exist, and for all
# models distances between samples, the modes they cover, and whether they copy the training data. `pyrogen evaluate
# --ais` goes further: with a little Gaussian noise every decoder has a likelihood, which annealed importance sampling
# bounds, for a GAN as for a VAE.

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Fit a kernel density to 1,000 samples of the GAN, and use it as the likelihood of the model. Vary the
# bandwidth. Why is this estimate not trusted in high dimensions?
#
# **Exercise 2.** A classifier that tells data from samples estimates $\log p(x) - \log q(x)$. Use it to compare the
# flow with the truth: is its optimal loss what $\mathrm{JS}$ says?
#
# **Exercise 3.** Show that a model that draws from one moon only has a *better* $E_q[\log p]$ than, or one as good as,
# the data, and an infinite $\mathrm{KL}(p \,\|\, q)$ in the limit. Which of the three questions finds it out?

# %% [markdown]
# ### Solution 1
#
# The value depends on the bandwidth as much as on the model. In two dimensions the best bandwidth gives a usable value;
# in 64, as chapter 4 has shown, the error of the kernel density is larger than the differences between models.

# %%
with torch.no_grad():
    samples = setups["GAN"].model.sample(1000)
    for h in (0.02, 0.05, 0.1, 0.3):
        value = float(KernelDensity(samples, h).log_prob(x_test).mean()) + space.log_det
        print(f"h = {h}: {value:.2f} nats")

# %% [markdown]
# ### Solution 2
#
# Both densities are known, so the optimal classifier is too: $D^* = \sigma(\log p - \log q)$, and JS follows by Monte
# Carlo. A trained critic gives a lower bound on it.

# %%
flow = setups["flow"].model
with torch.no_grad():
    from_q = flow.sample(1000)
    js = jensen_shannon(
        lambda z: truth.log_prob(space.unstandardise(z)) - space.log_det, lambda z: flow.log_prob(z), x_test, from_q
    )
bound = js_by_critic(x_test, from_q, CriticBudget(hidden=(64, 64), steps=20 if SMOKE else 500))
print(f"JS {js.value:.3f} ± {js.stderr:.3f}, bound by a critic {bound.value:.3f} ± {bound.stderr:.3f} nats")

# %% [markdown]
# ### Solution 3
#
# One moon has the same density on its points as the data have, so $E_q[\log p]$ is about the same. Only question 1
# (with $\log q \to -\infty$ on the other moon) and question 3 find it out.

# %%
everything = truth.sample(20_000)
moon = everything[everything[:, 1] > 0.55]  # a part of the upper moon alone
print(f"E_q[log p]: part of a moon {float(truth.log_prob(moon).mean()):.2f}, data {-truth.entropy:.2f}")
other = truth.sample(len(moon))
print(f"sliced W₁: part of a moon {sliced_wasserstein(moon, other).value:.3f}, "
      f"data {sliced_wasserstein(everything[: len(moon)], other).value:.3f}")  # fmt: skip
