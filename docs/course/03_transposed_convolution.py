# %% [markdown]
# # 3. Transposed convolution, pooling and unpooling
#
# The decoder of a convolutional autoencoder maps small feature maps to large images. This chapter explains its two
# building blocks: the transposed convolution and unpooling.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import pyrogen
from pyrogen.nn import ConvUp, PoolDown, PoolUp

SMOKE = bool(os.environ.get("PYROGEN_SMOKE"))  # fewer random draws, for a test
OUT = Path("runs/course")
OUT.mkdir(parents=True, exist_ok=True)
_ = torch.manual_seed(0)

# %% [markdown]
# ## A convolution is a matrix
#
# A convolution is linear in the image, so there is a matrix $A$ with $\operatorname{conv}(x) = Ax$ for the flattened
# image. Column $j$ of $A$ is the convolution of the $j$-th unit image. For an image of 8 × 8 pixels, a kernel of 4 × 4,
# stride 2 and padding 1, $A$ has 16 rows and 64 columns, and each row holds the same 16 weights at another place.

# %%
kernel = torch.randn(1, 1, 4, 4, dtype=torch.float64)
unit_images = torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
A = F.conv2d(unit_images, kernel, stride=2, padding=1).view(64, 16).T
x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
assert torch.allclose(A @ x.flatten(), F.conv2d(x, kernel, stride=2, padding=1).flatten())
print("A:", tuple(A.shape), "; share of zeros:", f"{float((A == 0).double().mean()):.2f}")

# %% [markdown]
# ## The transposed convolution is the adjoint
#
# The transposed convolution with the same kernel is the map $y \mapsto A^\top y$, from 16 values to 64. It is *not* the
# inverse of the convolution; it is its adjoint, the only map with
#
# $$\langle Ax, y \rangle = \langle x, A^\top y \rangle \quad \text{for all } x, y.$$

# %%
for _ in range(3 if SMOKE else 1000):
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    y = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    left = (F.conv2d(x, kernel, stride=2, padding=1) * y).sum()
    right = (x * F.conv_transpose2d(y, kernel, stride=2, padding=1)).sum()
    assert torch.allclose(left, right)
print("⟨Ax, y⟩ =", float(left), " ⟨x, Aᵀy⟩ =", float(right))
assert torch.allclose(A.T @ y.flatten(), F.conv_transpose2d(y, kernel, stride=2, padding=1).flatten())

# %% [markdown]
# It is also what backpropagation computes. With $L = \langle Ax, y\rangle$ the chain rule gives
#
# $$\frac{\partial L}{\partial x} = A^\top y .$$

# %%
x.requires_grad_()
(gradient,) = torch.autograd.grad((F.conv2d(x, kernel, stride=2, padding=1) * y).sum(), x)
assert torch.allclose(gradient, F.conv_transpose2d(y, kernel, stride=2, padding=1))

# %% [markdown]
# ## Sizes
#
# A convolution with kernel $k$, stride $s$ and padding $p$ maps a side $h$ to
#
# $$h' = \left\lfloor \frac{h + 2p - k}{s} \right\rfloor + 1,
#   \qquad \text{and its transpose } h' \text{ to } (h' - 1)s - 2p + k + o .$$
#
# Because of the rounding, $s$ sizes $h$ have the same $h'$; the output padding $o$ says which of them is meant. The
# decoders of pyrogen use $k = 4$, $s = 2$, $p = 1$, for which $h' = \lfloor h / 2 \rfloor$ and $o = h \bmod 2$:
#
# `pyrogen/nn/conv.py`:
#
# ```python
# last, padding = i == len(sizes) - 2, (h % 2, w % 2)
# ```

# %%
for h in range(8, 20):
    small = F.conv2d(torch.zeros(1, 1, h, h), torch.ones(1, 1, 4, 4), stride=2, padding=1)
    large = F.conv_transpose2d(small, torch.ones(1, 1, 4, 4), stride=2, padding=1, output_padding=h % 2)
    assert (small.shape[-1], large.shape[-1]) == (h // 2, h)
print("28 × 28 from a vector of 16:", tuple(ConvUp(16, (1, 28, 28))(torch.zeros(1, 16)).shape))

# %% [markdown]
# ## Why the kernel is 4 and not 3
#
# The transposed convolution writes one copy of the kernel for each input value, and the copies overlap. The number of
# copies at a pixel is the transposed convolution of ones with a kernel of ones. If the stride does not divide the
# kernel, that number differs from pixel to pixel, and a decoder with such layers tends to draw checkerboards.

# %%
figure, panels = plt.subplots(1, 4, figsize=(11.5, 3.1), layout="constrained", width_ratios=(2, 1, 1, 1))
panels[0].imshow(A.numpy(), cmap="RdBu", vmin=-3, vmax=3, aspect="auto", interpolation="nearest")
panels[0].set(title="A: 4 × 4 kernel, stride 2", xlabel="input pixel", ylabel="output pixel")
for axes, size in zip(panels[1:], (2, 3, 4), strict=True):
    copies = F.conv_transpose2d(torch.ones(1, 1, 6, 6), torch.ones(1, 1, size, size), stride=2)[0, 0]
    copies = copies[2:10, 2:10]  # away from the edge
    axes.imshow(copies.numpy(), cmap="viridis", vmin=0, vmax=4)
    for i in range(len(copies)):
        for j in range(len(copies)):
            shade = "black" if copies[i, j] > 2 else "white"
            axes.text(j, i, f"{int(copies[i, j])}", ha="center", va="center", color=shade, fontsize=8)
    axes.set(title=f"copies, kernel {size}", xticks=[], yticks=[])
figure.savefig(OUT / "03_transposed.png", dpi=120)

# %% [markdown]
# ## Pooling and unpooling
#
# Max pooling keeps the maximum of each 2 × 2 window. Unpooling writes it back, to the position it came from if that was
# kept, and 0 elsewhere. Average pooling is linear; unpooling it repeats the value.
#
# `pyrogen/nn/pooling.py`:
#
# ```python
# return F.max_unpool2d(y, indices, [2, 2], output_size=size)
# ```
#
# `pyrogen/nn/pooling.py`:
#
# ```python
# upsampled = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
# ```
#
# In both cases pooling undoes unpooling, $P U y = y$ (for max pooling if $y \ge 0$), but unpooling does not undo
# pooling. Average pooling $P$ and its unpooling $U$ are also adjoint up to a factor: $U = 4 P^\top$.

# %%
data = pyrogen.load("digits")
digit = data.test.tensors()[0][:1]
pooled, positions = F.max_pool2d(digit, 2, return_indices=True)
upper_left = positions - positions % 2 - (positions // 8 % 2) * 8
stages = {
    "image": digit,
    "max pooled": pooled,
    "unpooled to\nthe positions": F.max_unpool2d(pooled, positions, 2),
    "unpooled to\nthe corners": F.max_unpool2d(pooled, upper_left, 2),
    "average pooled": F.avg_pool2d(digit, 2),
    "unpooled": F.avg_pool2d(digit, 2).repeat_interleave(2, 2).repeat_interleave(2, 3),
}
assert torch.equal(F.max_pool2d(stages["unpooled to\nthe positions"], 2), pooled)
figure, panels = plt.subplots(1, len(stages), figsize=(11.5, 2.5), layout="constrained")
for axes, (title, image) in zip(panels, stages.items(), strict=True):
    axes.imshow(image[0, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[])
figure.savefig(OUT / "03_pooling.png", dpi=120)

# %% [markdown]
# The positions carry information about the image beside the code, two bits for each window of each channel. An
# autoencoder that passes them to its decoder has a wider bottleneck than the length of its code says.

# %%
down, up = PoolDown(data.shape, 8, pooling="max"), PoolUp(8, data.shape, pooling="max")
code, indices = down(digit)
print("code:", tuple(code.shape), " positions:", [tuple(i.shape) for i in indices if i is not None])
print("image:", tuple(up(code, indices).shape))

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Verify $U = 4P^\top$ for average pooling, by the inner products.
#
# **Exercise 2.** The transposed convolution is not the inverse. Find the smallest $\|A^\top A x - x\|$ over kernels by
# gradient descent, for the kernel above on random images, and explain why it cannot be zero.
#
# **Exercise 3.** Write the transposed convolution with stride 2 as zero insertion followed by an ordinary convolution
# with the flipped kernel.

# %% [markdown]
# ### Solution 1

# %%
x, y = torch.randn(1, 1, 8, 8, dtype=torch.float64), torch.randn(1, 1, 4, 4, dtype=torch.float64)
unpooled = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
assert torch.allclose((F.avg_pool2d(x, 2) * y).sum(), (x * unpooled).sum() / 4)

# %% [markdown]
# ### Solution 2
#
# $A$ has 16 rows, so $A^\top A$ has rank at most 16 of 64. The best that a projection of rank 16 can do for white noise
# is to keep a quarter of the variance: the relative error is at least $1 - 16/64 = 0.75$. One kernel for all places
# need not reach it, but a 2 × 2 block average, which is such a kernel, does.

# %%
weight = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
optimiser = torch.optim.Adam([weight], lr=0.05)
images = torch.randn(200 if SMOKE else 2000, 1, 8, 8, dtype=torch.float64)
for _ in range(20 if SMOKE else 300):
    small = F.conv2d(images, weight, stride=2, padding=1)
    error = (F.conv_transpose2d(small, weight, stride=2, padding=1) - images).square().mean()
    optimiser.zero_grad()
    error.backward()
    optimiser.step()
print(f"relative error {error.item():.3f}; at least {1 - 16 / 64}")

# %% [markdown]
# ### Solution 3
#
# Insert a zero between neighbouring values, pad by $k - 1 - p$, and convolve with the kernel flipped in both
# directions.

# %%
spread = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
spread[..., ::2, ::2] = y
assert torch.allclose(
    F.conv2d(spread, kernel.flip(2, 3), padding=2), F.conv_transpose2d(y, kernel, stride=2, padding=1)
)
