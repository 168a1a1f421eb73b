"""Draw the pictures of ``docs/gallery.md`` on the embedded 8 × 8 digits: a model of every family is trained first.

    OMP_NUM_THREADS=1 python docs/scripts/gallery.py

Runs are kept in ``runs/gallery``, so that a second call only draws. Pictures go to ``docs/images/gallery``.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torchvision.utils import make_grid

import pyrogen
from pyrogen import measure, use
from pyrogen.data import Dataset
from pyrogen.training import open_or_train

RUNS = Path("runs/gallery")
OUT = Path(__file__).parent.parent / "images" / "gallery"
STEPS = 1500
FAMILIES = {
    "explicit, exact": ("gaussian", "ppca", "mixture", "mppca", "kde", "made", "pixelcnn", "realnvp", "spline"),
    "explicit, bounded": ("vae", "ladder-vae", "vqvae", "gmvae"),
    "implicit": ("gan", "dcgan", "sngan", "wgan-gp", "gmmn", "aae", "vaegan"),
}
CURVES = ("mixture", "realnvp", "made", "vae")


def trained(name: str, data: Dataset, **options: Any) -> Any:
    """The run of a recipe, trained or opened."""
    run = open_or_train(RUNS / "-".join([name, *map(str, options.values())]), name, "digits", options=options)
    print(name, "trained", flush=True)
    return run


def tiles(rows: list[Tensor], data: Dataset) -> Any:
    """Rows of images, ``(columns, 1, 8, 8)`` each, as one picture."""
    grid = make_grid(data.space.to_user(torch.cat(rows)).clamp(0, 1), nrow=len(rows[0]), padding=1, pad_value=0)
    return grid[0].numpy()


def sheet(rows: dict[str, Tensor], data: Dataset, name: str, width: float, titles: tuple[str, ...] = ()) -> None:
    """Save labelled rows of images."""
    columns = len(next(iter(rows.values())))
    height = width * (9 * len(rows) + 1) / (9 * columns + 1) + (0.3 if titles else 0)
    figure, axes = plt.subplots(figsize=(width + 1.3, height), layout="constrained")
    axes.imshow(tiles(list(rows.values()), data), cmap="gray_r", vmin=0, vmax=1)
    axes.set_yticks([9 * i + 4.5 for i in range(len(rows))], list(rows))
    axes.set_xticks([9 * i + 4.5 for i in range(columns)] if titles else [], list(titles))
    axes.tick_params(length=0, labeltop=bool(titles), labelbottom=False)
    axes.spines[:].set_visible(False)
    save(figure, name)


def save(figure: Any, name: str) -> None:
    """Save a picture."""
    figure.savefig(OUT / f"{name}.png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    print(OUT / f"{name}.png", flush=True)


def samples(data: Dataset) -> None:
    """Fourteen samples of a model of each family."""
    for family, names in FAMILIES.items():
        rows = {"test data": data.test.tensors()[0][:14]} if family.startswith("explicit, exact") else {}
        for name in names:
            model = trained(name, data, steps=STEPS).model
            torch.manual_seed(0)
            rows[name] = model.sample(14)
        sheet(rows, data, f"samples-{family.replace(', ', '-')}", 7)


def paths(data: Dataset) -> None:
    """Paths between digits of different classes, in the codes of a VAE."""
    x, y = data.test.tensors()
    vae = trained("vae", data, steps=STEPS).model
    first = [int((y == label).nonzero()[0]) for label in range(10)]
    path = use.interpolate(vae, x[first[:8]], x[first[2:]], steps=11)
    sheet({f"{i} to {i + 2}": row for i, row in enumerate(path.data)}, data, "paths", 6)


def restoration(data: Dataset) -> None:
    """Images of which the left half is seen, and draws of the rest."""
    x = data.test.tensors()[0][:10]
    seen = torch.zeros(data.shape, dtype=torch.bool)
    seen[..., :4] = True
    found = use.restore(
        trained("vae", data, steps=STEPS).model, use.Mask(seen)(x), use.Mask(seen), data.shape, draws=64
    )
    half = torch.where(seen, x, torch.full_like(x, 0.5))
    rows = {"image": x, "seen": half, "mean": found.mean, **{f"draw {i + 1}": found.draws[:, i] for i in range(3)}}
    sheet(rows, data, "restoration", 6)


def outliers(data: Dataset) -> None:
    """The strangest of 300 test data, twelve of which are turned upside down."""
    x = data.test.tensors()[0][:300].clone()
    x[::25] = x[::25].flip(2)
    found = use.find_outliers(trained("vae", data, steps=STEPS).model, data, x, k=100)
    order = found.strangest[:24]
    figure, panels = plt.subplots(3, 8, figsize=(7, 3.3), layout="constrained")
    for axes, i in zip(panels.flat, order.tolist(), strict=True):
        axes.imshow(data.space.to_user(x[i : i + 1])[0, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"p = {float(found.p_values[i]):.3f}", fontsize=8)
        for spine in axes.spines.values():
            spine.set(color="tab:red" if i % 25 == 0 else "0.7", linewidth=2.5 if i % 25 == 0 else 0.8)
    save(figure, "outliers")


def rate_distortion(data: Dataset) -> None:
    """Rate-distortion curves of decoders trained as VAEs and as a GAN."""
    normal = {"likelihood": "gaussian"}  # distortion is a squared error
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, options in (("vae", normal | {"latent": 2}), ("vae", normal | {"latent": 16}), ("gan", {})):
        model = trained(name, data, steps=STEPS, **options).model
        score = measure.ais(model, data, n=60, gap=2.0, minutes=0.5, simulated=30)
        curve = score.detail["rate_distortion"]
        label = f"{name}, {model.latent} latents"
        axes.plot(curve["distortion"], curve["rate"], label=f"{label}: log p(x) ≥ {score.value:.1f} nats")
    axes.set(xscale="log", ylim=(0, None), xlabel="distortion, squared error per datum", ylabel="rate, nats per datum")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:.0e}"[0] in "2357" else "")
    axes.legend(frameon=False)
    save(figure, "rate-distortion")


def curves(data: Dataset) -> None:
    """Training and validation losses during training."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name in CURVES:
        rows = trained(name, data, steps=STEPS).metrics
        points = [(row["t"], -row["loss"]) for row in rows if row["t"] >= 50]
        (line,) = axes.plot(*zip(*points, strict=True), linewidth=1, alpha=0.6)
        points = [(row["t"], -row["valid_loss"]) for row in rows if "valid_loss" in row and row["t"] >= 50]
        axes.plot(*zip(*points, strict=True), "o--", markersize=3, color=line.get_color(), label=name)
    axes.set(xlabel="step", ylabel="log-likelihood or bound, nats per datum")
    figure.legend(frameon=False, loc="outside right upper", title="dashed:\nvalidation data")
    save(figure, "curves")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    digits = pyrogen.load("digits")
    for draw in (samples, paths, restoration, outliers, curves, rate_distortion):
        draw(digits)
