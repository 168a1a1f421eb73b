"""``pyrogen encode``, ``decode``, ``reconstruct``, ``compress`` and ``decompress``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli.arguments import Folder, Seed, data_names
from pyrogen.cli.console import message
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from pyrogen.data.dataset import Split

OtherData = Annotated[
    str | None,
    typer.Option("--data", help="Data to use; by default the run's own test data.", autocompletion=data_names),
]
Out = Annotated[str, typer.Option("--out", help="FILE.npz: arrays in the user's units; FILE.png: picture.")]
Draws = Annotated[bool, typer.Option("--draws", help="Draw codes from q(z | x) in place of their means.")]


def encode(
    folder: Folder,
    out: Annotated[str, typer.Option("--out", help="FILE.npz with `codes` and, if there are labels, `labels`.")],
    data: OtherData = None,
    draws: Draws = False,
    seed: Seed = 0,
) -> None:
    """Write the codes of data."""
    from pyrogen import use
    from pyrogen.training.opened import open

    require_suffix(out, ".npz")
    opened = open(folder)
    x, y, labels = rows_of(opened, data, seed)
    codes = use.encode(opened.model, x, y, draw=draws, seed=seed)
    write_arrays(out, codes=codes, labels=labels)


def decode(
    folder: Folder,
    codes: Annotated[Path, typer.Option(help="FILE.npz that `pyrogen encode` wrote, or one with `codes`.")],
    out: Out,
) -> None:
    """Write the data of codes, E[x | z]."""
    import torch

    from pyrogen import use
    from pyrogen.data.sources.arrays import read_arrays
    from pyrogen.training.opened import open

    require_suffix(out, ".npz", ".png")
    arrays = read_arrays(codes)
    if "codes" not in arrays:
        raise ConfigError(f"{codes} has no array `codes`; it has {', '.join(arrays) or 'none'}")
    opened = open(folder)
    z = torch.as_tensor(arrays["codes"])
    labels = torch.as_tensor(arrays["labels"]) if "labels" in arrays and use.needs_y(opened.model) else None
    write_data(opened, out, use.decode(opened.model, z, labels))


def reconstruct(folder: Folder, out: Out, data: OtherData = None, draws: Draws = False, seed: Seed = 0) -> None:
    """Write the reconstructions of data; in a picture, beneath the data."""
    from pyrogen import use
    from pyrogen.training.opened import open

    require_suffix(out, ".npz", ".png")
    opened = open(folder)
    x, y, _ = rows_of(opened, data, seed)
    x, y = (x, y) if not out.endswith(".png") else (x[:64], None if y is None else y[:64])
    found = use.reconstruct(opened.model, x, y, draw=draws, seed=seed)
    write_changed(opened, out, x, found)


def compress(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", help="The compressed file.")],
    data: OtherData = None,
    seed: Seed = 0,
) -> None:
    """Compress grey levels by a likelihood: lossless, but for a VQ-VAE."""
    from pyrogen import use
    from pyrogen.training.opened import open

    opened = open(folder)
    x, _, _ = rows_of(opened, data, seed)
    packed = use.compress(opened.model, opened.space, x)
    write_whole(out, packed)
    bits = use.bits_per_dim(packed, x[0].numel(), len(x))
    message(f"wrote {out}: {len(packed):,} bytes, {bits:.4f} bits per dimension of {len(x):,} data")


def decompress(
    file: Annotated[Path, typer.Argument(help="File that `pyrogen compress` wrote.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help="The run folder it was compressed by.")],
    out: Annotated[str, typer.Option("--out", help="FILE.npy: grey levels, (n, channel, height, width).")],
) -> None:
    """Write the grey levels of a compressed file."""
    from pyrogen import use
    from pyrogen.cli.sample_files import npy_array
    from pyrogen.files import read_regular
    from pyrogen.training.opened import open

    require_suffix(out, ".npy")
    opened = open(model)
    levels = use.decompress(opened.model, opened.space, read_regular(file, most=1 << 40))
    write_whole(out, npy_array(levels))
    message(f"wrote {out}")


def require_suffix(out: str | Path, *suffixes: str, option: str = "--out") -> None:
    """Raise ``ConfigError`` unless a file's name ends in one of the suffixes; before anything is computed."""
    if not str(out).endswith(suffixes):
        raise ConfigError(f"{option} must end in {' or '.join(suffixes)}; got {str(out)!r}")


def rows_of(opened: Any, data: str | None, seed: int) -> "tuple[Tensor, Tensor | None, Tensor | None]":
    """Rows in model coordinates, their side information if the model takes it, and their labels, if any."""
    return in_coordinates(opened, opened.rows(data)[0], seed)


def in_coordinates(opened: Any, rows: "Split", seed: int) -> "tuple[Tensor, Tensor | None, Tensor | None]":
    """The same for rows that were read."""
    from pyrogen import use

    x, *rest = rows.tensors(seed)
    y = rest[0] if rest and use.needs_y(opened.model) else None
    return x, y, rows.y


def write_arrays(out: str, **arrays: "Tensor | None") -> None:
    """Write arrays into an ``.npz`` file, without those that are ``None``."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    kept: dict[str, Any] = {name: array.cpu().numpy() for name, array in arrays.items() if array is not None}
    np.savez(buffer, **kept)
    write_whole(out, buffer.getvalue())
    message(f"wrote {out}")


def write_data(opened: Any, out: str, x: "Tensor", beneath: "Tensor | None" = None, columns: int | None = None) -> None:
    """Write data in the user's units as arrays, or as a picture of images.

    Args:
        opened: the run.
        out: the file.
        x: data in model coordinates, ``(n, *event)``.
        beneath: data that a picture shows beneath them.
        columns: images per row.
    """
    from pyrogen.data.shown.image_grid import grid_png
    from pyrogen.report.pictures import in_units

    if out.endswith(".npz"):
        return write_arrays(out, data=opened.space.to_user(x))
    if not opened.without_rows.is_image:
        raise ConfigError(f"--out {out}: a picture needs images; write these data to a .npz")
    shown, below = (None if part is None else in_units(part, opened.without_rows) for part in (x, beneath))
    assert shown is not None
    write_whole(out, grid_png(shown, columns=columns, beneath=below))
    message(f"wrote {out}")
    return None


def write_changed(opened: Any, out: str, x: "Tensor", found: "Tensor") -> None:
    """Write what data became; in a picture, beneath the data, ``(n, *event)`` both."""
    if out.endswith(".png"):
        write_data(opened, out, x, beneath=found)
    else:
        write_data(opened, out, found)
