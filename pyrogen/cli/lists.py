"""``pyrogen models`` and ``pyrogen data``: list models and data sets."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from pyrogen.cli.arguments import Json, model_names
from pyrogen.cli.tables import borderless_table, show


def models(
    name: Annotated[
        str | None, typer.Argument(help="Name of a model, to list its options.", autocompletion=model_names)
    ] = None,
    as_json: Json = False,
) -> None:
    """List the models; for one model, its options with defaults, limits and meanings."""
    from pyrogen.recipes import RECIPES, recipe

    if name is None:
        entries = {key: RECIPES[key] for key in model_names()}
        columns = ("family", "likelihood", "description")
        rows = {key: (entry.family, entry.likelihood, entry.title) for key, entry in entries.items()}
        return show_list("model", columns, rows, as_json)
    entry = recipe(name)
    options = {
        option.name: (option.default, option.limits.replace("`", ""), option.meaning.replace("`", ""))
        for option in entry.options
    }
    title = f"{name}: {entry.title} ({entry.family}, likelihood: {entry.likelihood})"
    return show_list("option", ("default", "limits", "meaning"), options, as_json, title)


def data(as_json: Json = False) -> None:
    """List the data sets with shape, split sizes, space and source."""
    from pyrogen.data.datasets import names

    rows = {
        name: (
            "x".join(map(str, entry.shape)),
            " / ".join(f"{n:,}" for n in entry.sizes),
            str(entry.space),
            entry.source,
        )
        for name, entry in names().items()
    }
    show_list("data", ("shape", "train / valid / test", "space", "source"), rows, as_json)


def show_list(
    what: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]], as_json: bool, title: str | None = None
) -> None:
    """Print a list of names with what there is to say of each, as a table or one JSON object by name.

    Args:
        what: what the names are of.
        columns: the further columns.
        rows: their texts by name.
        as_json: as JSON.
        title: of the table.
    """
    if as_json:
        print(json.dumps({name: dict(zip(columns, row, strict=True)) for name, row in rows.items()}))
        return
    table = borderless_table(what, *columns)
    table.title = title
    for name, row in rows.items():
        table.add_row(name, *row)
    show(table)
