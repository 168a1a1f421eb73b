"""Tables of scores for a terminal; a sign before each value marks its kind."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from pyrogen.console import PlainConsole

LEGEND = "= exact, ≥ lower bound, ≤ upper bound, ≈ estimate"
COLUMNS = {"log_likelihood": "nats", "bits_per_dim": "bits/dim", "mmd2": "MMD²", "c2st": "C2ST"}


def score_table(scores: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """The scores of one model, one per row."""
    from pyrogen.report.cards import SIGN

    table = Table("score", "value", "± stderr", "unit", title=title, caption=LEGEND)
    for name, score in scores.items():
        table.add_row(name, f"{SIGN[score['kind']]} {score['value']:.5g}", f"{score['stderr']:.2g}", score["unit"])
    return table


def scorecard_table(card: Mapping[str, Any]) -> Table:
    """The main scores of a scorecard, one row for each model and anchor."""
    from pyrogen.report.cards import SIGN

    table = Table("model", *COLUMNS.values(), "train s", title=f"{card['data']}: {card['space']}", caption=LEGEND)
    anchors = {f"({name})": entry for name, entry in card["anchors"].items()}
    for name, entry in {**card["models"], **anchors}.items():
        found = {"log_likelihood": entry["scores"].get("kde"), **entry["scores"]}
        scores = [found.get(column) for column in COLUMNS]
        cells = [f"{SIGN[s['kind']]} {s['value']:.3g}" if s else "–" for s in scores]
        seconds = entry.get("train_seconds")
        table.add_row(
            name, *cells, "–" if seconds is None else f"{seconds:.0f}", end_section=name == list(card["models"])[-1]
        )
    return table


def experiment_table(card: Mapping[str, Any]) -> Table:
    """The scores of an experiment, one row for each model and reference, with 95% intervals or standard errors."""
    from pyrogen.report.cards import SIGN
    from pyrogen.report.formatting import score_title, value_and_margin

    title = f"{card['experiment']} on {card['data']}: {card['space']}; seeds {', '.join(map(str, card['seeds']))}"
    table = Table("model", *map(score_title, card["columns"]), "train s", title=title, caption=LEGEND)
    anchors = {f"({name})": entry for name, entry in card["anchors"].items()}
    for name, entry in {**card["arms"], **anchors}.items():
        scores = [entry["scores"].get(column) for column in card["columns"]]
        cells = [f"{SIGN[s['kind']]} {' '.join(value_and_margin(s))}" if s else "–" for s in scores]
        seconds = entry.get("train_seconds")
        table.add_row(name, *cells, "–" if seconds is None else f"{seconds:.1f}")
    return table


def verdict_table(card: Mapping[str, Any]) -> Table:
    """The verdict on the samples of each model that has one."""
    table = borderless_table("model", "verdict on its samples")
    for name, entry in card["models"].items():
        if entry.get("verdict"):
            table.add_row(name, entry["verdict"]["sentence"])
    return table


def print_card(card: Mapping[str, Any], tables: Iterable[Table], as_json: bool) -> None:
    """Print the results of several models: as one JSON object without their folder, or as tables that have rows."""
    if as_json:
        print(json.dumps({name: value for name, value in card.items() if name != "folder"}))
        return
    for table in tables:
        if table.row_count:
            show(table)


def borderless_table(*columns: str) -> Table:
    """A table without borders, for lists of names."""
    return Table(*columns, box=None, pad_edge=False)


def show(table: Table) -> None:
    """Print on standard output; if it is not a terminal, with a width of 140 columns to avoid wrapping."""
    console = PlainConsole()
    (console if console.is_terminal else PlainConsole(width=140)).print(table)
