"""Lossless compression by generative models, beside general compressors.

A likelihood is a code length: a model with log p(x) codes x in -log₂ p(x) bits. An autoregressive model codes value by
value; a VAE by bits back (Townsend, Bird and Barber, ICLR 2019). Both are decoded and compared bit for bit.

    python examples/compression.py                        # --smoke for a run of a few seconds
    python examples/compression.py --data mnist-binary    # and mnist, for 8 bits per pixel
"""

import argparse
import bz2
import gzip
import io
import lzma
from math import log
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

import pyrogen
from pyrogen import use
from pyrogen.data import Dataset
from pyrogen.training import open_or_train


def general(levels: NDArray[np.uint8]) -> dict[str, int]:
    """The bytes of all images together by general compressors; 8 binary pixels are one byte of their input."""
    most = max(int(levels.max()), 1)
    raw = (np.packbits(levels.astype(bool)) if most == 1 else levels).tobytes()
    sheet, png = Image.fromarray((levels * (255 // most)).reshape(-1, levels.shape[-1])), io.BytesIO()
    (sheet.convert("1") if most == 1 else sheet).save(png, "PNG", optimize=True)
    return {
        "no model": len(raw),
        "gzip": len(gzip.compress(raw, 9)),
        "bz2": len(bz2.compress(raw, 9)),
        "xz": len(lzma.compress(raw, preset=9)),
        "PNG": len(png.getvalue()),
    }


def by_model(name: str, model: Any, data: Dataset, n: int) -> int:
    """Compress n test images, decode them, and return the number of bytes."""
    rows = data.test.select(torch.arange(n))
    x, start = rows.tensors()[0], perf_counter()
    packed = use.compress(model, data.space, x)
    middle = perf_counter()
    levels = use.decompress(model, data.space, packed)
    took = middle - start, perf_counter() - middle
    if not torch.equal(levels.long(), use.grey_levels(data.space, x)):
        raise SystemExit(f"{name}: decoded other images than were coded")
    scores, values = pyrogen.evaluate(model, rows, k=1), n * data.dims
    nats = scores["log_likelihood"]
    bits = scores["bits_per_dim"].value if data.space.levels else -nats.value / data.dims / log(2)
    print(
        f"{name}: {use.bits_per_dim(packed, data.dims, n):.4f} bits/dim; its likelihood says {bits:.4f} ({nats.kind}); "
        f"{len(packed):,} bytes; coded at {values / took[0] / 1e6:.2f}, decoded at {values / took[1] / 1e6:.2f} MB/s",
        flush=True,
    )
    return len(packed)


def chart(sizes: dict[str, float], path: Path) -> None:
    """A bar for each compressor."""
    figure = Figure((7, 0.5 + 0.35 * len(sizes)), layout="constrained")
    axes = figure.subplots()
    axes.bar_label(axes.barh(list(sizes), list(sizes.values()), color="#4477aa"), fmt="%.3f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("bits per pixel")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits-binary", help="binary images, or grey levels")
    parser.add_argument("--data-root")
    parser.add_argument("--models", nargs="+", default=["made", "vae"], help="made, pixelcnn or vae")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of all the models")
    parser.add_argument("--n", type=int, default=10_000, help="test images at most")
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=DIR", help="trained runs of models, by name")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/compression"))
    parser.add_argument("--smoke", action="store_true", help="a run of a few seconds")
    args = parser.parse_args()
    options = {"steps": 20 if args.smoke else args.steps, **dict(pair.split("=") for pair in args.set)}

    data = pyrogen.load(args.data, args.data_root)
    n = min(args.n, len(data.test))
    sizes = general(use.grey_levels(data.space, data.test.tensors()[0][:n]).numpy().astype(np.uint8))
    models = {name: pyrogen.open(run).model for name, run in (pair.split("=") for pair in args.runs)}
    args.out.mkdir(parents=True, exist_ok=True)
    for name in list(models) or args.models:
        if name not in models:
            run = open_or_train(args.out / name, name, args.data, data_root=args.data_root, options=options)
            models[name] = run.model
        sizes[name] = by_model(name, models[name], data, n)
    rates = {name: 8 * size / (n * data.dims) for name, size in sizes.items()}
    print(f"bits/dim of {n:,} images:", ", ".join(f"{name} {rate:.3f}" for name, rate in rates.items()))
    chart(rates, args.out / "sizes.png")
    print(f"a bar for each: {args.out / 'sizes.png'}")


if __name__ == "__main__":
    main()
