"""``pyrogen outliers`` and ``cluster``: a table with a line for each datum."""

from typing import Annotated

import typer

from pyrogen.cli.arguments import Folder, Seed
from pyrogen.cli.console import message
from pyrogen.cli.uses.codes import OtherData, in_coordinates, rows_of, write_data
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole


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
    import numpy as np

    from pyrogen import use
    from pyrogen.cli.sample_files import csv_rows
    from pyrogen.training.opened import open

    opened = open(folder)
    rows, files = opened.rows(data)
    x, y, _ = in_coordinates(opened, rows, seed)
    found = use.find_outliers(opened.model, opened.data, x, y, score=score, k=k, seed=seed)
    order = found.strangest.cpu()
    names = np.array(files, dtype=object) if files else np.arange(len(rows))
    table = {
        "file" if files else "row": names[order.numpy()],
        found.score: found.values.cpu()[order].numpy(),
        "p_value": found.p_values.cpu()[order].numpy(),
        "adjusted_p_value": found.adjusted.cpu()[order].numpy(),
    }
    if not out.endswith(".csv"):
        raise ConfigError(f"--out must end in .csv; got {out!r}")
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
    method: Annotated[str, typer.Option(help="kmeans or gaussian.")] = "kmeans",
    seed: Seed = 0,
) -> None:
    """Cluster the codes of data."""
    import numpy as np

    from pyrogen import use
    from pyrogen.cli.sample_files import csv_rows
    from pyrogen.cli.tables import score_table, show
    from pyrogen.training.opened import open

    opened = open(folder)
    classes = opened.description.classes
    k = k or len(classes)
    if not k:
        raise ConfigError("the data have no classes: give the number of clusters by --k")
    if not out.endswith(".csv"):
        raise ConfigError(f"--out must end in .csv; got {out!r}")
    x, y, labels = rows_of(opened, data, seed)
    codes = use.encode(opened.model, x, y)
    found, scores = use.cluster(codes, k, labels, method=method, seed=seed)
    write_whole(out, csv_rows({"row": np.arange(len(x)), "cluster": found.numpy()}))
    message(f"wrote {out}")
    if scores:
        show(score_table({name: score.as_dict() for name, score in scores.items()}, f"{k} clusters against classes"))
