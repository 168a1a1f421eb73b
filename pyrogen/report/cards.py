"""Results as they are shown: dictionaries of scores that print as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyrogen.protocols import Score
from pyrogen.report.formatting import score_title, value_and_margin
from pyrogen.summary import html_table, text_table

SIGN = {"exact": "=", "lower_bound": "≥", "upper_bound": "≤", "estimate": "≈", "statistic": " "}
"""The sign before a value, by the kind of its score."""
COLUMNS = ("log_likelihood", "bits_per_dim", "mmd2", "c2st")
"""The scores of a comparison that its table has."""


class Scores(dict[str, Score]):
    """The scores of a model by name; printed as a table."""

    def _rows(self) -> list[tuple[str, ...]]:
        return [(name, *_cell(score.as_dict()), score.unit) for name, score in self.items()]

    def __repr__(self) -> str:
        return text_table(("score", "value", "± 95%", "unit"), self._rows()) if self else "{}"

    def _repr_html_(self) -> str:
        return html_table(("score", "value", "± 95%", "unit"), self._rows())


class Card(dict[str, Any]):
    """The results of several models, as in ``scores.json`` or ``results.json``; printed as a table."""

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        columns: Sequence[str] = self.get("columns", COLUMNS)
        anchors = {f"({name})": entry for name, entry in self["anchors"].items()}
        entries: Mapping[str, Any] = {**self.get("models", {}), **self.get("arms", {}), **anchors}
        rows = [
            (name, *(" ".join(_cell(found[c])) if c in found else "–" for c in columns))
            for name, entry in entries.items()
            for found in [{"log_likelihood": entry["scores"]["kde"]} if "kde" in entry["scores"] else {}]
            for found in [found | entry["scores"]]
        ]
        return ("model", *map(score_title, columns)), rows

    def __repr__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def _cell(score: Mapping[str, Any]) -> tuple[str, str]:
    """The value with the sign of its kind, and the half width of its interval."""
    value, margin = value_and_margin(score)
    return f"{SIGN[score['kind']]} {value}", margin
