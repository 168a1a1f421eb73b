"""``pyrogen export``: parts of a trained model for other tools."""

import os
from typing import Annotated

import typer

from pyrogen.cli.arguments import Folder
from pyrogen.cli.console import message


def export(
    folder: Folder,
    out: Annotated[
        str,
        typer.Option("--out", help="FILE.pt2 or FILE.onnx: a graph of one part; FOLDER/: weights with a model card."),
    ],
    part: Annotated[str, typer.Option("--part", help="decoder, encoder or log_prob, for a graph.")] = "decoder",
) -> None:
    """Write a decoder, an encoder or a log-likelihood that runs without pyrogen, or the weights with a model card."""
    from pyrogen.training.opened import open
    from pyrogen.use import exporting

    opened = open(folder)
    if out.endswith(("/", os.sep)) or os.path.isdir(out):
        written = exporting.export_weights(opened, out)
    else:
        written = exporting.export(opened.model, opened.without_rows, out, part)
    message(f"wrote {written}")
