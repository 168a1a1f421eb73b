"""The rows of ``metrics.jsonl``: each a JSON object with its checksum."""

import json
import re
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path

from pyrogen.files import read_regular, seal_json, unseal_json

RESUMED = "resumed_after"
"""The key of a row that voids the rows before it of later steps."""
_ROW = re.compile(r"\{[^{}]*\}")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def sealed_row(row: Mapping[str, float]) -> str:
    """The line of a row; numbers that are not finite, which JSON lacks, are written as strings."""
    written = {name: value if isfinite(value) else json.dumps(value) for name, value in row.items()}
    return seal_json(written, indent=None)


def read_rows(path: Path) -> Iterator[dict[str, float]]:
    """Yield the rows of a file, if it exists, in the order in which they were written, without damaged ones."""
    text = read_regular(path).decode(errors="replace") if path.exists() else ""
    for found in _ROW.finditer(text):  # not by lines: the end of one can be damaged
        row = _parsed_row(found[0])
        if row is not None:
            yield row


def _parsed_row(text: str) -> dict[str, float] | None:
    """A row; ``None`` if it is damaged. In version 0.1 rows have no checksum."""
    row = unseal_json(text)
    if row is None:
        try:
            row = json.loads(text)
        except ValueError:
            return None
    row = {name: float(value) if value in _NOT_FINITE else value for name, value in row.items()}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in row.values())
    return row if numbers and isinstance(row.get("t", row.get(RESUMED)), int) else None
