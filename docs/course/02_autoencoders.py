# %% [markdown]
# # 2. Autoencoders and the bottleneck
#
# An autoencoder consists of an encoder $f$, which maps $x \in \mathbb{R}^d$ to a code $z \in \mathbb{R}^k$, and a
# decoder $g$, which maps the code back. Both are trained together to reproduce the data:
#
# $$\min_{f, g}\ E\, \|x - g(f(x))\|^2 / d .$$
#
# `pyrogen/reconstruction/autoencoder.py`:
#
# ```python
# return {"loss": F.mse_loss(self.reconstruct(noisy), x)}
# ```
#
# Without a *bottleneck*, $k < d$, the identity would be optimal. With it the code has to keep what varies in the data.

# %%
import os
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchvision.utils import make_grid

import pyrogen
from pyrogen.explicit import Gaussian
from pyrogen.reconstruction import PCA, Autoencoder
from pyrogen.steps import GradientStep

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # few steps, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)


data = pyrogen.load("digits")
x, y = data.train.tensors()
x_test, y_test = data.test.tensors()


def train(autoencoder: Autoencoder, steps: int) -> Autoencoder:
    """The same autoencoder, trained on digits."""
    steps = 20 if SMOKE else steps
    schedule = partial(CosineAnnealingLR, T_max=steps)
    step = GradientStep(autoencoder.losses, partial(Adam, lr=2e-3), schedule=schedule, compile=False)
    for _ in pyrogen.fit(step, data.train, steps=steps, batch_size=128, seed=0):
        pass
    return autoencoder.eval()


# %% [markdown]
# ## The linear autoencoder is PCA
#
# If $f$ and $g$ are linear, $g \circ f$ is a matrix of rank $k$. By the theorem of Eckart and Young the best one is the
# projection on the $k$ leading eigenvectors of the covariance,
#
# $$\hat x = W^\top W (x - \mu) + \mu .$$
#
# `pyrogen/reconstruction/pca.py`:
#
# ```python
# return self.decode(self.encode(x))
# ```
#
# Gradient descent finds the same *subspace*, but neither the same basis nor an orthogonal one.

# %%
linear = train(Autoencoder(data.shape, latent=8, hidden=(), mean=x.mean(0)), steps=2000)
pca = PCA.from_data(x, latent=8)
with torch.no_grad():
    print("linear autoencoder:", float(linear.losses(x_test)["loss"]))
print("PCA:               ", float(pca.loss(x_test)))

# The cosines of the angles between the two subspaces are the singular values of the product of orthonormal bases.
decoder_weight = next(p for p in linear.decoder.parameters() if p.ndim == 2).detach()
basis, _ = torch.linalg.qr(decoder_weight)
cosines = torch.linalg.svdvals(basis.T @ pca.components.T)
print("cosines between the subspaces:", [round(c, 3) for c in cosines.tolist()])
assert SMOKE or float(cosines.min()) > 0.9

# %% [markdown]
# ## Nonlinear autoencoders
#
# With hidden layers the reconstructions lie on a curved surface in the space of images. The gain over PCA is large for
# short codes. With 32 numbers PCA is better here: the network no longer gains from the curvature, and has been trained
# on about a thousand images for some hundred epochs, whereas PCA is exact.

# %%
sizes = (2, 8) if SMOKE else (1, 2, 4, 8, 16, 32)
errors: dict[str, list[float]] = {"PCA": [], "autoencoder": []}
models = {}
for k in sizes:
    models[k] = train(Autoencoder(data.shape, latent=k, hidden=(256, 128), mean=x.mean(0), unit=True), steps=1200)
    with torch.no_grad():
        errors["autoencoder"].append(float(models[k].losses(x_test)["loss"]))
    errors["PCA"].append(float(PCA.from_data(x, latent=k).loss(x_test)))

figure = plt.figure(figsize=(12, 3.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1, 1.6))
axes = left.subplots()
for (name, values), style in zip(errors.items(), ("s--", "o-"), strict=True):
    axes.plot(sizes, values, style, label=name)
axes.axhline(1 / (12 * 17**2), color="0.6", lw=1)
axes.text(sizes[0], 1.1 / (12 * 17**2), "variance of the dequantisation noise", color="0.4", fontsize=9)
axes.set(xscale="log", yscale="log", xlabel="numbers in the code, k", ylabel="mean squared error per test pixel")
axes.set_xticks(sizes, [str(k) for k in sizes])
axes.minorticks_off()
axes.legend(frameon=False)

with torch.no_grad():
    rows = {"test image": x_test[:10], "PCA, k = 2": PCA.from_data(x, latent=2).reconstruct(x_test[:10])}
    rows |= {f"autoencoder, k = {k}": models[k].reconstruct(x_test[:10]) for k in (2, 8)}
axes = right.subplots()
tiles = make_grid(torch.cat(list(rows.values())).reshape(-1, 1, 8, 8), nrow=10)[0]
axes.imshow(tiles.numpy(), cmap="gray_r", vmin=0, vmax=1)
axes.set_yticks([10 * i + 5.5 for i in range(len(rows))], list(rows))
axes.set_xticks([])
axes.tick_params(length=0)
figure.savefig(OUT / "02_bottleneck.png", dpi=120)

# %% [markdown]
# ## An autoencoder is not a generative model
#
# The loss says nothing about the distribution of the codes. The aggregate of the codes has holes, and what is decoded
# from there is no digit. The picture shows the codes of length 2 and the image decoded at each point of a lattice.

# %%
with torch.no_grad():
    codes = models[2].encode(x_test)
    n = 16
    (left_end, bottom), (right_end, top) = codes.quantile(0.01, 0).tolist(), codes.quantile(0.99, 0).tolist()
    ticks = torch.linspace(left_end, right_end, n), torch.linspace(bottom, top, n)
    lattice = torch.cartesian_prod(*ticks)
    images = models[2].decode(lattice).view(n, n, 8, 8)  # [i, j]: the i-th value of z₁, the j-th of z₂
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
points = left.scatter(*codes.T, c=y_test, cmap="tab10", s=12, vmin=-0.5, vmax=9.5)
left.set(xlim=(left_end, right_end), ylim=(bottom, top), xlabel="z₁", ylabel="z₂", title="codes of test images")
figure.colorbar(points, ax=left, ticks=range(10), label="class")
tiles = make_grid(images.flip(1).transpose(0, 1).reshape(-1, 1, 8, 8), nrow=n)[0]
right.imshow(tiles.numpy(), cmap="gray_r", vmin=0, vmax=1)
right.set(title="decoded lattice of the same rectangle", xticks=[], yticks=[])
figure.savefig(OUT / "02_plane.png", dpi=120)

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Train a denoising autoencoder, whose encoder sees $x + \sigma\varepsilon$, and let it clean noisy test
# images. Compare with PCA of the same size.
#
# **Exercise 2.** Draw samples from an autoencoder by fitting a Gaussian to its codes. Compare the spread of the samples
# with that of the data.
#
# **Exercise 3.** The linear autoencoder is invariant under $f \to Af$, $g \to gA^{-1}$. Verify it on the trained
# weights.

# %% [markdown]
# ### Solution 1
#
# The noise is an argument of the model; the target of the loss is the clean image.

# %%
sigma = 0.3
denoiser = train(Autoencoder(data.shape, latent=32, noise=sigma, mean=x.mean(0), unit=True), steps=1500)
noisy = x_test + sigma * torch.randn_like(x_test)
with torch.no_grad():
    for name, cleaned in {
        "as it is": noisy,
        "PCA": PCA.from_data(x, latent=16).reconstruct(noisy),
        "denoising autoencoder": denoiser.reconstruct(noisy),
    }.items():
        print(f"{name:22s} mean squared error {float((cleaned - x_test).square().mean()):.4f}")

# %% [markdown]
# ### Solution 2
#
# The Gaussian is fitted to the codes after training, so nothing has made the codes Gaussian: some samples look like
# digits and others lie in the holes between classes. Chapter 6 makes the distribution of the codes a part of the model.

# %%
with torch.no_grad():
    prior = Gaussian.from_data(models[8].encode(x), "full", jitter=1e-4)
    samples = models[8].decode(prior.sample(1000))
print(f"standard deviation per pixel: samples {float(samples.std(0).mean()):.3f}, data {float(x.std(0).mean()):.3f}")

# %% [markdown]
# ### Solution 3
#
# $(gA^{-1})(Af) = gf$.

# %%
change = torch.eye(8) + 0.1 * torch.randn(8, 8)
with torch.no_grad():
    codes = linear.encode(x_test)
    other = linear.decode((codes @ change) @ torch.linalg.inv(change))
    same = linear.decode(codes)
print("largest difference:", float((other - same).abs().max()))
assert torch.allclose(other, same, atol=1e-4)
