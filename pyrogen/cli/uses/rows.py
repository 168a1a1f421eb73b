"""``pyrogen outliers``, ``cluster`` and ``weights``: a table with a line for each datum."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrogen.cli.arguments import Folder, Seed
from pyrogen.cli.console import message
from pyrogen.cli.uses.codes import OtherData, in_coordinates, require_suffix, rows_of, write_data
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole

if TYPE_CHECKING:
    from pyrogen.data.dataset import Split

OWN = "model"
"""The method of clustering that is the model's own."""


def outliers(
    folder: Folder,
    out: Annotated[str, typer.Option("--out", help="FILE.csv: name or row, score, p-value, adjusted p-value.")],
    data: OtherData = None,
    score: Annotated[
        str | None,
        typer.Option(help="likelihood, typicality, complexity, residual, reconstruction, code or critic."),
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="FILE.png: a picture of the strangest images.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=10**6, help="Importance samples per datum.")] = 100,
    seed: Seed = 0,
) -> None:
    """Rank data by how strange they are to the model, with p-values and control of false discoveries."""
    from pyrogen import use
    from pyrogen.cli.sample_files import csv_rows
    from pyrogen.training.opened import open

    require_suffix(out, ".csv")
    if sheet is not None:
        require_suffix(sheet, ".png", option="--sheet")
    opened = open(folder)
    rows, files = opened.rows(data)
    x, y, _ = in_coordinates(opened, rows, seed)
    found = use.find_outliers(opened.model, opened.data, x, y, score=score, k=k, seed=seed)
    order = found.strangest.cpu()
    name, names = named(rows, files)
    table = {
        name: names[order.numpy()],
        found.score: found.values.cpu()[order].numpy(),
        "p_value": found.p_values.cpu()[order].numpy(),
        "adjusted_p_value": found.adjusted.cpu()[order].numpy(),
    }
    write_whole(out, csv_rows(table))
    few = int((found.adjusted <= 0.05).sum())
    message(f"wrote {out}: {few:,} of {len(x):,} data are outliers at a false discovery rate of 5% ({found.score})")
    if sheet is not None:
        write_data(opened, sheet, x[order[:64].to(x.device)])


def cluster(
    folder: Folder,
    out: Annotated[str, typer.Option("--out", help="FILE.csv: the cluster of each row.")],
    k: Annotated[
        int | None, typer.Option("--k", min=1, max=100_000, help="Clusters; by default as many as classes.")
    ] = None,
    data: OtherData = None,
    method: Annotated[
        str, typer.Option(help=f"kmeans or gaussian, on codes; {OWN}: the clusters of a model that has its own.")
    ] = "kmeans",
    seed: Seed = 0,
) -> None:
    """Cluster data by their codes."""
    import numpy as np

    from pyrogen import use
    from pyrogen.cli.sample_files import csv_rows
    from pyrogen.cli.tables import score_table, show
    from pyrogen.training.opened import open

    require_suffix(out, ".csv")
    opened = open(folder)
    k = k or len(opened.description.classes)
    if not k and method != OWN:
        raise ConfigError("the data have no classes: give the number of clusters by --k")
    x, y, labels = rows_of(opened, data, seed)
    if method == OWN:
        found = use.assign(opened.model, x)
        scores = {} if labels is None else use.cluster_scores(found, labels)
    else:
        found, scores = use.cluster(use.encode(opened.model, x, y), k, labels, method=method, seed=seed)
    write_whole(out, csv_rows({"row": np.arange(len(x)), "cluster": found.numpy()}))
    message(f"wrote {out}")
    if scores:
        show(score_table({name: score.as_dict() for name, score in scores.items()}, "Clusters against classes"))


def weights(
    folder: Folder,
    out: Annotated[str, typer.Option("--out", help="FILE.csv: name or row, and weight, of mean 1.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Data to weight; by default all rows of the run's file, or its training data."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="1/ALPHA is the greatest weight, relative to usual data.")] = 0.02,
    seed: Seed = 0,
) -> None:
    """Weight data by the inverse density of their codes, so that rare ones count more in training."""
    from pyrogen import use
    from pyrogen.cli.sample_files import csv_rows
    from pyrogen.data import names
    from pyrogen.training.opened import open

    require_suffix(out, ".csv")
    opened = open(folder)
    given = data or opened.config.data
    rows, files = opened.rows(given) if data or given not in names() else (opened.data.train.freeze_noise(seed), ())
    x, y, _ = in_coordinates(opened, rows, seed)
    codes = use.encode(opened.model, x, y)
    found = use.code_weights(codes, alpha=alpha)
    name, values = named(rows, files)
    write_whole(out, csv_rows({name: values, "weight": found.cpu().numpy()}))
    before, after = (float(use.evenness(codes, by).mean()) for by in (None, found))
    message(f"wrote {out}: the evenness of the codes' histograms goes from {before:.3f} to {after:.3f}")


def named(rows: "Split", files: tuple[str, ...]) -> tuple[str, Any]:
    """The heading and the values of the column that names the rows: their files, or their numbers from 0."""
    import numpy as np

    return ("file", np.array(files, dtype=object)) if files else ("row", np.arange(len(rows)))
