# %% [markdown]
# # 8. Discrete codes: VQ-VAE and VQ-VAE-2
#
# The code of a VQ-VAE is an array of symbols. The encoder gives a vector $h$ at each position of a grid, and *vector
# quantisation* replaces it by the nearest of $K$ vectors, the codebook $e_1, \dots, e_K$:
#
# $$c = \arg\min_k \|h - e_k\| .$$
#
# `pyrogen/nn/codebook.py`:
#
# ```python
# return (e.square().sum(1) - 2 * flat @ e.T).argmin(1).view(h.shape[:-1])
# ```
#
# ($\|h\|^2$ is the same for all $k$ and can be left out.)

# %%
import os
from functools import partial
from math import log
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchvision.utils import make_grid

import pyrogen
from pyrogen.explicit import VQVAE, VQVAE2, GaussianLikelihood
from pyrogen.steps import GradientStep

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # few steps, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)


data = pyrogen.load("digits")
x_train, _ = data.train.tensors()
x_test, y_test = data.test.tensors()


def train(model: VQVAE, steps: int = 800) -> VQVAE:
    """The same model, trained on digits together with its prior."""
    steps = 10 if SMOKE else steps
    model.train()
    schedule = partial(CosineAnnealingLR, T_max=steps)
    step = GradientStep(model.losses, partial(Adam, lr=3e-3), schedule=schedule, compile=False)
    for _ in pyrogen.fit(step, data.train, steps=steps, batch_size=64, seed=0):
        pass
    return model.eval()


# %% [markdown]
# ## The straight-through gradient
#
# $\arg\min$ is piecewise constant: its derivative is 0 almost everywhere, and the encoder would learn nothing. The
# VQ-VAE copies the gradient of the decoder's input to the encoder's output,
#
# $$e(h) = h + \operatorname{sg}[e_c - h], \qquad \frac{\partial e}{\partial h} := I,$$
#
# where $\operatorname{sg}$ stops the gradient. The value is $e_c$, the derivative that of $h$.
#
# `pyrogen/nn/codebook.py`:
#
# ```python
# return h + (e - h).detach(), codes, loss
# ```

# %%
vqvae = VQVAE(data.shape, codes=16, dim=2, likelihood=GaussianLikelihood("learned"), mean=x_train.mean(0))
vqvae.eval()  # in training the codebook would be updated
h = torch.randn(1, 5, 2, requires_grad=True)
e, codes, _ = vqvae.codebook(h)
direction = torch.randn_like(h)
(gradient,) = torch.autograd.grad((e * direction).sum(), h)
assert torch.allclose(e, vqvae.codebook.vectors[codes], atol=1e-6)
assert torch.equal(gradient, direction)
print("codes:", codes.tolist())

# %% [markdown]
# ## Learning the codebook
#
# Two more terms keep encoder and codebook together. The *commitment* loss draws $h$ to its vector,
#
# $$\beta\, \|h - \operatorname{sg}[e_c]\|^2,$$
#
# `pyrogen/nn/codebook.py`:
#
# ```python
# loss = self.commitment * (h - e.detach()).square().flatten(1).sum(1)
# ```
#
# and each vector follows the mean of the $h$ assigned to it, as in k-means; the mean is a moving average over batches:
#
# $$e_k = \frac{m_k}{n_k}, \qquad n_k \leftarrow \gamma n_k + (1 - \gamma)\, \#\{h : c = k\}, \quad
#   m_k \leftarrow \gamma m_k + (1 - \gamma) \sum_{c = k} h .$$
#
# `pyrogen/nn/codebook.py`:
#
# ```python
# self.vectors.copy_(self.total / self.count.clamp_min(1e-6)[:, None])
# ```
#
# ## It is a latent-variable model
#
# The posterior $q(c \mid x)$ is a point mass, so the ELBO is a difference of two terms without an expectation:
#
# $$\log p(x) \ge \log p(c) + \log p(x \mid c) = -(\text{rate} + \text{distortion}) .$$
#
# The rate is the number of nats for the codes under the prior $p(c)$, an autoregressive transformer. It is learned on
# the codes, and has no gradient for the encoder.
#
# `pyrogen/explicit/vqvae.py`:
#
# ```python
# rate = -self.prior_network.log_prob(codes)
# ```
#
# With two-dimensional vectors the quantisation can be drawn. Each colour is the cell of one vector.

# %%
vqvae = train(vqvae)
with torch.no_grad():
    h = vqvae.project(vqvae.encoder(x_test)).permute(0, 2, 3, 1).reshape(-1, 2)
    e = vqvae.codebook.vectors
    low, high = h.quantile(0.002, 0), h.quantile(0.998, 0)
    ticks = [torch.linspace(a, b, 300) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    cells = vqvae.codebook.nearest(torch.cartesian_prod(*ticks)).view(300, 300).T
    grids = vqvae.encode(x_test[:8]).view(8, *vqvae.grid)
    rebuilt = vqvae.reconstruct(x_test[:8])

figure = plt.figure(figsize=(12, 4.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5))
axes = left.subplots()
extent = (ticks[0][0].item(), ticks[0][-1].item(), ticks[1][0].item(), ticks[1][-1].item())
axes.imshow(cells.numpy(), origin="lower", extent=extent, cmap="tab20", vmin=0, vmax=19, alpha=0.45, aspect="auto")
axes.scatter(*h[:3000].T, s=2, color="0.25")
axes.scatter(*e.T, s=60, marker="*", color="black")
axes.set(xlim=extent[:2], ylim=extent[2:], title="encoder outputs h, and the codebook ★", xlabel="h₁", ylabel="h₂")
for i, panels in enumerate(right.subplots(3, 8)):
    for j, panel in enumerate(panels):
        if i == 1:
            panel.imshow(grids[j].numpy(), cmap="tab20", vmin=0, vmax=19, alpha=0.6)
        else:
            panel.imshow((x_test if i == 0 else rebuilt)[j, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
    panels[0].set_ylabel(("image", "codes", "decoded")[i])
figure.savefig(OUT / "08_codebook.png", dpi=120)

# %% [markdown]
# ## VQ-VAE-2
#
# Two levels of codes: a top level on a coarser grid, and a bottom level whose encoder and prior are conditional on it,
#
# $$p(c) = p(c_\text{top})\, p(c_\text{bottom} \mid c_\text{top}) .$$
#
# One transformer over the sequence (top, bottom) is this product. The top level has the global shape, the bottom level
# the details.
#
# `pyrogen/explicit/vqvae.py`:
#
# ```python
# return torch.cat([_to_grid(e, self.grid), above], 1), torch.cat([top, bottom], 1), top_loss + loss
# ```

# %%
models = {
    name: train(make(data.shape, codes=64, dim=16, likelihood=GaussianLikelihood("learned"), mean=x_train.mean(0)))
    for name, make in {"VQ-VAE": VQVAE, "VQ-VAE-2": VQVAE2}.items()
}
rows = {"test images": x_test[:12]}
for name, model in models.items():
    with torch.no_grad():
        losses = {key: float(value) for key, value in model.losses(x_test).items()}
        rows |= {f"{name}, decoded": model.reconstruct(x_test[:12]), f"{name}, sampled": model.sample_mean(12)}
    bound = -(losses["rate"] + losses["distortion"])
    print(
        f"{name}: {model.positions} codes, rate {losses['rate']:.1f}, distortion {losses['distortion']:.1f}, "
        f"bound {bound:.1f} nats; perplexity {losses['perplexity']:.1f}"
    )
with torch.no_grad():  # the bottom level decoded with the top level of another image
    two = models["VQ-VAE-2"]
    codes = two.encode(x_test[:12])
    top = two.positions - two.grid[0] * two.grid[1]
    rows["neighbour's top"] = two.decode(torch.cat([codes[:, :top].roll(1, 0), codes[:, top:]], 1))
figure, axes = plt.subplots(figsize=(9.5, 4.2), layout="constrained")
tiles = make_grid(torch.cat(list(rows.values())).reshape(-1, 1, 8, 8), nrow=12)[0]
axes.imshow(tiles.numpy(), cmap="gray_r", vmin=0, vmax=1)
axes.set_yticks([10 * i + 5.5 for i in range(len(rows))], list(rows))
axes.set_xticks([])
figure.savefig(OUT / "08_samples.png", dpi=120, bbox_inches="tight")

# %% [markdown]
# In the last row each image has its own bottom codes and the top codes of its left neighbour. On images of 8 × 8 pixels
# the second level does not pay: its four codes cost more nats of rate than they save of distortion. Its use is in large
# images, where the prior of a single fine grid would be a sequence of thousands of codes.
#
# ## Exercises
#
# **Exercise 1.** How many bits has an image as a list of codes of fixed length, and how many under the learned prior?
#
# **Exercise 2.** The perplexity of the codes is $\exp H(c)$, at most $K$. Compute it by hand, for one position of the
# grid and for all together.
#
# **Exercise 3.** Show by finite differences that the true derivative of the quantiser is 0, and explain why the
# straight-through gradient works nevertheless.

# %% [markdown]
# ### Solution 1
#
# $16 \log_2 64 = 96$ bits at fixed length. The prior knows which codes are frequent and how they follow one another.

# %%
model = models["VQ-VAE"]
with torch.no_grad():
    rate = float(model.losses(x_test)["rate"])
print(f"fixed length {model.positions * log(model.codes) / log(2):.0f} bits, learned prior {rate / log(2):.1f} bits")

# %% [markdown]
# ### Solution 2
#
# Single positions use fewer codes than all of them: the codes at the border stand for background.

# %%
with torch.no_grad():
    codes = model.encode(x_train)


def perplexity(codes: torch.Tensor) -> float:
    share = torch.bincount(codes.flatten(), minlength=model.codes) / codes.numel()
    return float(torch.special.entr(share).sum().exp())


print(f"all positions {perplexity(codes):.1f}; each:", [round(perplexity(column)) for column in codes.T])

# %% [markdown]
# ### Solution 3
#
# A small change of $h$ does not change its nearest vector. The straight-through gradient is that of the decoder at
# $e_c$: it says in which direction a *different vector* would reduce the loss. As the commitment loss keeps $h$ near
# $e_c$, it is a good direction for $h$ too, and after enough steps $h$ crosses into the neighbouring cell.

# %%
with torch.no_grad():
    h = torch.randn(1, 1000, model.codebook.vectors.shape[1])
    moved = model.codebook(h + 1e-4 * torch.randn_like(h))[1] != model.codebook(h)[1]
print(f"share of codes that changed: {float(moved.double().mean()):.4f}")
assert float(moved.double().mean()) < 0.05
