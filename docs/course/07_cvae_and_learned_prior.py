# %% [markdown]
# # 7. The conditional VAE and the learned prior
#
# Side information $y$, such as a label or a part of the image, enters all three networks:
#
# $$p(z \mid y), \qquad p(x \mid z, y), \qquad q(z \mid x, y),$$
#
# and the bound of chapter 6 becomes
#
# $$\log p(x \mid y) \ \ge\ E_q[\log p(x \mid z, y)] - \mathrm{KL}(q(z \mid x, y) \,\|\, p(z \mid y)) .$$
#
# What $y$ explains need not be in the code. One label can have many images, and $z$ says which of them.

# %%
import os
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Ellipse
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchvision.utils import make_grid

import pyrogen
from pyrogen.data import Split
from pyrogen.explicit import CVAE, GaussianLikelihood, Label, PartialImage, observe_quadrants
from pyrogen.objectives import BetaELBO

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # few steps, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)


data = pyrogen.load("digits")
x_train, y_train = data.train.tensors()
x_test, y_test = data.test.tensors()


def train(cvae: CVAE, rows: Split, steps: int = 1500) -> CVAE:
    """The same model, trained on ``rows``."""
    steps = 20 if SMOKE else steps
    schedule = partial(CosineAnnealingLR, T_max=steps)
    step = pyrogen.SVI(cvae.model, cvae.guide, partial(Adam, lr=2e-3), BetaELBO(), schedule=schedule, compile=False)
    for _ in pyrogen.fit(step, rows, steps=steps, batch_size=128, seed=0):
        pass
    return cvae.eval()


# %% [markdown]
# ## Two priors
#
# The prior may be $N(0, I)$ for every $y$, or a network of $y$:
#
# $$p(z \mid y) = N(\mu_p(y), \operatorname{diag} \sigma_p^2(y)) .$$
#
# `pyrogen/explicit/cvae.py`:
#
# ```python
# return normal(self.prior_network(self._features(y)))
# ```
#
# The KL divergence of two Gaussians with diagonal covariances still has a closed form,
#
# $$\mathrm{KL} = \sum_j \left[ \log \frac{\sigma_{p,j}}{\sigma_{q,j}} +
#   \frac{\sigma_{q,j}^2 + (\mu_{q,j} - \mu_{p,j})^2}{2 \sigma_{p,j}^2} - \frac12 \right] .$$
#
# `pyrogen/objectives/elbo_terms.py`:
#
# ```python
# kl = kl_divergence(q.base_dist, p.base_dist)
# ```
#
# For a fixed encoder the best prior is the *aggregate posterior* $E_{x \mid y}\, q(z \mid x, y)$: with
# $\bar q(z \mid y)$ for it,
#
# $$E_{x \mid y}\, \mathrm{KL}(q(z \mid x, y) \,\|\, p(z \mid y))
#   = I(x; z \mid y) + \mathrm{KL}(\bar q(z \mid y) \,\|\, p(z \mid y)) .$$
#
# A learned prior can make the last term small by moving to the codes. A fixed one waits until the codes come to it.

# %%
models = {
    prior: train(
        CVAE(data.shape, Label(10), 2, (256, 128), GaussianLikelihood("learned"), prior, x_train.mean(0)), data.train
    )
    for prior in ("standard", "learned")
}
shown = (0, 1, 4, 8)
figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for axes, (prior, cvae) in zip(panels, models.items(), strict=True):
    with torch.no_grad():
        terms = BetaELBO().terms(cvae.model, cvae.guide, x_test, y_test)
        kl = float(sum(part.sum(0).mean() for part, _ in terms.latent))
        codes = cvae.encode(x_test, y_test)
        p_z = cvae.prior_dist(10, torch.arange(10))
    for label in shown:
        colour = plt.cm.tab10(label)
        axes.scatter(*codes[y_test == label].T, s=12, color=colour, label=f"{label}")
        (a, b), (width, height) = p_z.mean[label].tolist(), (4 * p_z.stddev[label]).tolist()
        axes.add_patch(Ellipse((a, b), width, height, fill=False, color=colour))
    axes.set(title=f"{prior} prior: ELBO {float(terms.observed.mean()) - kl:.1f}, KL {kl:.2f} nats", xlabel="z₁")
    axes.set_aspect("equal", "datalim")
    axes.autoscale_view()
    print(f"{prior}: ELBO {float(terms.observed.mean()) - kl:.2f}, KL {kl:.2f} nats")
panels[0].set_ylabel("z₂")
panels[0].legend(title="label", frameon=False, loc="upper left")
figure.suptitle("codes of test images, and two standard deviations of p(z | y)")
figure.savefig(OUT / "07_priors.png", dpi=120)

# %% [markdown]
# With a label as side information both priors serve equally well: the encoder sees $y$, and can move the codes of each
# label to $N(0, I)$. The learned prior leaves that open, so its scale is arbitrary. It pays where $y$ says much about
# $x$, as below.
#
# The closed form, computed from the distributions of the model, is the KL term of the objective:

# %%
cvae = models["learned"]
with torch.no_grad():
    q, p = cvae.posterior_dist(x_test, y_test).base_dist, cvae.prior_dist(len(x_test), y_test).base_dist
    by_hand = ((p.scale / q.scale).log() + (q.scale**2 + (q.loc - p.loc) ** 2) / (2 * p.scale**2) - 0.5).sum(1)
    terms = BetaELBO().terms(cvae.model, cvae.guide, x_test, y_test)
print(f"by hand {float(by_hand.mean()):.4f}, in the objective {float(terms.latent[0][0].sum(0).mean()):.4f} nats")
assert torch.allclose(by_hand, terms.latent[0][0].sum(0)[0], atol=1e-3)

# %% [markdown]
# ## Style and class
#
# With the label given, the two latent variables describe what images of all labels have in common: slant and stroke.
# The same $z$ is decoded with each label.

# %%
cvae = models["standard"]
z = torch.cartesian_prod(torch.tensor([-1.2, 0.0, 1.2]), torch.tensor([-1.2, 0.0, 1.2]))
with torch.no_grad():
    images = torch.stack([cvae.decode(z, torch.full((len(z),), label)) for label in range(10)], 1)
figure, axes = plt.subplots(figsize=(8, 7.0), layout="constrained")
axes.imshow(make_grid(images.reshape(-1, 1, 8, 8), nrow=10)[0].numpy(), cmap="gray_r", vmin=0, vmax=1)
axes.set_xticks([10 * i + 5.5 for i in range(10)], [str(i) for i in range(10)])
axes.set_yticks([10 * i + 5.5 for i in range(len(z))], [f"({a:.1f}, {b:.1f})" for a, b in z.tolist()])
axes.set(xlabel="label y", ylabel="z")
figure.savefig(OUT / "07_style.png", dpi=120)

# %% [markdown]
# ## Completing an image
#
# Let $y$ be one quadrant of the image. Several images agree with it, so a deterministic network, trained with a squared
# error, would draw their mean. The CVAE draws one of them. Here the learned prior matters: what $z$ has to say depends
# on what is seen.

# %%
half = data.with_side_information(lambda x, y: observe_quadrants(x, 1))
completer = train(
    CVAE(data.shape, PartialImage(data.shape), 8, (256, 128), GaussianLikelihood("learned"), mean=x_train.mean(0)),
    half.train,
    steps=2000,
)
x_seen, seen = (part[:8] for part in half.test.tensors())
with torch.no_grad():
    drawn = [completer.sample_mean(8, seen) for _ in range(6)]
columns = [x_seen, seen.nan_to_num(0.35), *drawn]
figure, axes = plt.subplots(figsize=(6, 6.2), layout="constrained")
axes.imshow(
    make_grid(torch.stack(columns, 1).reshape(-1, 1, 8, 8), nrow=len(columns))[0].numpy(), cmap="gray_r", vmin=0, vmax=1
)
axes.set_xticks([10 * i + 5.5 for i in range(len(columns))], ["image", "seen", *["drawn"] * len(drawn)], fontsize=8)
axes.set_yticks([])
figure.savefig(OUT / "07_completion.png", dpi=120)

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Classify test images by the bound: $p(y \mid x) \propto p(x \mid y) p(y)$ with the ELBO for
# $\log p(x \mid y)$.
#
# **Exercise 2.** For the CVAE with labels, compare the mean and the standard deviation of the aggregate posterior of
# one label with those of the learned prior.
#
# **Exercise 3.** How much do the completions vary where the image was seen, and where it was not?

# %% [markdown]
# ### Solution 1
#
# A generative model with classes is a classifier. The labels are about equally frequent, so $p(y)$ drops out.

# %%
cvae = models["standard"]
elbo = BetaELBO(particles=1 if SMOKE else 10)
with torch.no_grad():
    scores = torch.stack(
        [elbo.per_datum(cvae.model, cvae.guide, x_test, torch.full((len(x_test),), label)) for label in range(10)], 1
    )
print(f"accuracy on test images: {float((scores.argmax(1) == y_test).double().mean()):.1%}")

# %% [markdown]
# ### Solution 2
#
# The aggregate has the variance of the means plus the mean of the variances.

# %%
cvae, label = models["learned"], 4
rows = y_train == label
with torch.no_grad():
    q = cvae.posterior_dist(x_train[rows], y_train[rows])
    p = cvae.prior_dist(1, torch.tensor([label]))
    std = (q.mean.var(0, correction=0) + q.variance.mean(0)).sqrt()
print("aggregate posterior:", [round(v, 2) for v in (*q.mean.mean(0).tolist(), *std.tolist())])
print("learned prior:      ", [round(v, 2) for v in (*p.mean[0].tolist(), *p.stddev[0].tolist())])

# %% [markdown]
# ### Solution 3
#
# Seen pixels are copied from $y$, so they do not vary at all.

# %%
variance = torch.stack(drawn).std(0)
print(f"seen {float(variance[~seen.isnan()].max()):.4f}, not seen {float(variance[seen.isnan()].mean()):.4f}")
assert float(variance[~seen.isnan()].max()) == 0
