"""``pyrogen models`` and ``pyrogen data``: list models and data sets."""

from typing import Annotated

import typer

from pyrogen.cli.arguments import model_names
from pyrogen.cli.tables import borderless_table, show


def models(
    name: Annotated[
        str | None, typer.Argument(help="Name of a model, to list its options.", autocompletion=model_names)
    ] = None,
) -> None:
    """List the models; for one model, its options with defaults, limits and meanings."""
    from pyrogen.recipes import RECIPES, recipe

    if name is None:
        table = borderless_table("model", "family", "likelihood", "description")
        for key in model_names():
            entry = RECIPES[key]
            table.add_row(key, entry.family, entry.likelihood, entry.title)
    else:
        entry = recipe(name)
        table = borderless_table("option", "default", "limits", "meaning")
        table.title = f"{name}: {entry.title} ({entry.family}, likelihood: {entry.likelihood})"
        for option in entry.options:
            plain = (option.limits.replace("`", ""), option.meaning.replace("`", ""))
            table.add_row(option.name, option.default, *plain)
    show(table)


def data() -> None:
    """List the data sets with shape, split sizes, space and source."""
    from pyrogen.data.datasets import names

    table = borderless_table("data", "shape", "train / valid / test", "space", "source")
    for name, entry in names().items():
        sizes = " / ".join(f"{n:,}" for n in entry.sizes)
        table.add_row(name, "x".join(map(str, entry.shape)), sizes, str(entry.space), entry.source)
    show(table)
