"""``pyrogen explore``."""

from pathlib import Path
from typing import Annotated

import typer

from pyrogen.cli.arguments import Folder, Seed
from pyrogen.cli.console import message
from pyrogen.cli.uses.codes import OtherData, require_suffix


def explore(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option("--out", help="FILE.html; by default explore.html in the run folder.")
    ] = None,
    data: OtherData = None,
    n: Annotated[int, typer.Option("--n", min=1, max=10_000, help="Number of data in the plane of codes.")] = 300,
    seed: Seed = 0,
) -> None:
    """Write a page on which codes, reconstructions, latent coordinates and paths of images are explored."""
    from pyrogen import use
    from pyrogen.report import write_explorer
    from pyrogen.training.opened import open

    path = folder / "explore.html" if out is None else out
    require_suffix(path, ".html")
    opened = open(folder)
    encodes = data is not None or use.has_codes(opened.model)
    rows = opened.rows(data)[0] if encodes else None
    written = write_explorer(path, use.explore(opened.model, opened.without_rows, rows, n=n, seed=seed))
    message(f"wrote {written}: {written.stat().st_size / 1e6:.1f} MB")
