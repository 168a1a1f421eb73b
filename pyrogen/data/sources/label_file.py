"""``labels.csv``: the labels of images in a folder without class folders."""

import csv
import io
from pathlib import PurePosixPath

from pyrogen.data.sources.stores import Store
from pyrogen.data.sources.untrusted import reading
from pyrogen.errors import DataError
from pyrogen.files import LARGEST_TEXT

LABELS = "labels.csv"
_FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_id", "path", "name", "id")
_LABEL_COLUMNS = ("label", "class", "target", "category", "y")


def read_labels(store: Store, prefix: str, files: list[str]) -> dict[str, str]:
    """Labels by image file, from ``labels.csv`` in the folder ``prefix``.

    The header names a column of files (``file``, ``filename``, ``image``, ``path``, …), with or without a suffix, and
    one of labels (``label``, ``class``, ``target``, ``category``).

    Args:
        store: where the file is.
        prefix: its folder, with a slash, or ``""``.
        files: the images, which the file names relative to its folder.

    Raises:
        DataError: naming the row of a file that is missing or named twice, or the header.
    """
    where = store.where(prefix + LABELS)
    rows = _rows(store, prefix + LABELS, where)
    if not rows:
        raise DataError(f"{where}: expected a header such as file,label, got an empty file")
    header = [cell.strip().lower() for cell in rows[0]]
    columns = [next((header.index(n) for n in names if n in header), -1) for names in (_FILE_COLUMNS, _LABEL_COLUMNS)]
    if -1 in columns:
        raise DataError(f"{where}: expected a header such as file,label, got {','.join(rows[0])}")
    known = {file.removeprefix(prefix): file for file in files}
    known = {str(PurePosixPath(name).with_suffix("")): file for name, file in known.items()} | known
    labels: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise DataError(f"{where}: row {number}: expected {len(header)} columns, got {len(row)}")
        name, label = (row[column].strip() for column in columns)
        if name not in known:
            raise DataError(f"{where}: row {number}: expected an image of this folder, got {name!r}")
        if not label:
            raise DataError(f"{where}: row {number}: expected a label of {name}, got none")
        if known[name] in labels:
            raise DataError(f"{where}: row {number}: {name} has a label in an earlier row")
        labels[known[name]] = label
    return labels


def _rows(store: Store, name: str, where: str) -> list[list[str]]:
    with reading(where, "a table of labels"):
        if store.size(name) > LARGEST_TEXT:
            raise DataError(f"{where}: expected at most {LARGEST_TEXT:,} bytes, got {store.size(name):,}")
        with store.open(name) as file:
            text = _decoded(file.read(), where)
        header = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=header.count)
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected UTF-8 text, got the byte {content[error.start]:#x}") from error
