"""The scores of a comparison as a table: one row for each model and score."""

import csv
import io
from collections.abc import Mapping
from statistics import mean
from typing import Any

_OF_MODEL = ("steps", "train_seconds", "parameters", "error")
_OF_SCORE = ("value", "stderr", "kind", "unit", "of", "seeds")
COLUMNS = ("model", "family", "score", "value", "stderr", "low", "high", "kind", "unit", "of", "seeds", *_OF_MODEL)
"""``low`` and ``high`` are the ends of the 95% interval, and ``of`` says what a likelihood is of, if not of x."""


def scores_csv(card: Mapping[str, Any]) -> bytes:
    """The table in UTF-8; what is not known is empty. A model that did not finish has one row, with its ``error``.

    Steps and seconds of training are means over the seeds.

    Args:
        card: a scorecard. The family of anchors is ``anchor``.
    """
    anchors = {name: entry | {"family": "anchor"} for name, entry in card["anchors"].items()}
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for name, entry in (*card["models"].items(), *anchors.items()):
        known = {"model": name, "family": entry["family"], **_given(entry, _OF_MODEL)}
        if isinstance(entry.get("steps"), list):
            known["steps"] = mean(entry["steps"])
        for score, found in entry["scores"].items():
            low, high = found.get("interval", ("", ""))
            limits = {"low": low, "high": high, "seeds": 1}
            writer.writerow({**known, "score": score, **limits, **_given(found, _OF_SCORE)})
        if not entry["scores"]:
            writer.writerow(known)
    return buffer.getvalue().encode()


def _given(entry: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: entry[name] for name in names if entry.get(name) is not None}
