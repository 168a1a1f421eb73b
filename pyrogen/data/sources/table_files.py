"""Tables in files: CSV, Parquet and Arrow (Feather)."""

import codecs
import re
from pathlib import Path
from typing import Any

from pyrogen.data.columns import is_number
from pyrogen.data.sources.arrow import arrow_columns, require_pyarrow, unpacked_bytes
from pyrogen.data.sources.untrusted import MOST_COLUMNS, check_expansion, check_holes, check_memory, reading
from pyrogen.data.space import Space
from pyrogen.data.table import RawData, ReadOptions, only_images, table_data
from pyrogen.errors import DataError
from pyrogen.files import regular_file

SUFFIXES = (".csv", ".tsv", ".parquet", ".arrow", ".feather")
"""The suffixes of files that hold a table."""

_HEAD = 1 << 20  # bytes that are looked at to tell the delimiter
_SHOWN = 200  # characters of a header in a message
_DECIMAL_COMMA = re.compile(r"(^|;)\s*-?\d+,\d+\s*(;|$)", re.MULTILINE)


def from_table_file(path: Path, options: ReadOptions, space: Space | None = None) -> RawData:
    """Read a table; rows count from 1, without the header.

    A CSV file is UTF-8 text with a header. Its columns are separated by commas, semicolons, tabs or bars, whichever is
    most frequent in the header; decimal commas are read if they are separated by semicolons. Empty cells and the usual
    codes (``NA``, ``NaN``, ``null``, …) are missing values.

    Args:
        path: the file, with one of ``SUFFIXES``.
        options, space: as for ``table_data``.

    Raises:
        DataError: naming the file, and the row or column that cannot be read.
    """
    where, suffix = str(path), path.suffix.lower()
    pa = require_pyarrow(where)
    with reading(where, f"a {suffix} file"):
        check_holes(path, where)
        check_memory(path.stat().st_size, where)
        if suffix in (".csv", ".tsv"):
            table = _read_csv(pa, path)
        else:
            table = _read_parquet(path) if suffix == ".parquet" else _read_arrow(pa, path)
            table.validate(full=True)  # offsets and codes that point outside would be followed
    return frame_data(table, where, options, space)


def frame_data(table: Any, where: str, options: ReadOptions, space: Space | None = None) -> RawData:
    """A ``pyarrow.Table`` as data."""
    only_images(options, where)
    columns, categorical = arrow_columns(table, where)
    return table_data(columns, where, options.with_categorical(categorical), space)


def _read_parquet(path: Path) -> Any:
    """A Parquet file, whose declared sizes are checked before its columns are read."""
    import pyarrow.parquet

    # By its path: pyarrow's threads, which read ahead, may outlive a file of Python, and end the process.
    with pyarrow.parquet.ParquetFile(str(path)) as file:
        declared = file.metadata
        if declared.num_columns > MOST_COLUMNS:
            raise DataError(f"{path}: expected at most {MOST_COLUMNS:,} columns, got {declared.num_columns:,}")
        groups = [declared.row_group(i).total_byte_size for i in range(declared.num_row_groups)]
        unpacked = max(8 * declared.num_rows * declared.num_columns, sum(groups))
        check_expansion(path.stat().st_size, unpacked, str(path))
        check_memory(unpacked, str(path))
        return file.read()


def _read_arrow(pa: Any, path: Path) -> Any:
    """An Arrow file, also of the first version of Feather, or a stream, as ``datasets`` of Hugging Face writes them.

    A file is read as the stream that it holds: the list of batches at its end could name others than were checked.
    """
    with pa.memory_map(str(path)) as file:
        start = file.read(8)
        if start[:4] == b"FEA1":
            import pyarrow.feather

            return pyarrow.feather.read_table(path)
        first = len(start) if start[:6] == b"ARROW1" else 0
        file.seek(first)
        unpacked = sum(map(unpacked_bytes, pa.ipc.MessageReader.open_stream(file)))
        check_expansion(path.stat().st_size, unpacked, str(path))
        check_memory(unpacked, str(path))
        file.seek(first)
        return pa.ipc.open_stream(file).read_all()


def _read_csv(pa: Any, path: Path) -> Any:
    """A CSV file as a ``pyarrow.Table``."""
    import pyarrow.csv

    _check_utf8(path)
    head = _head(path)
    header, _, body = head.partition("\n")
    delimiter = max(",;\t|", key=header.count)
    if not body.strip():
        raise DataError(f"{path}: expected rows below the header {header[:_SHOWN]}, found none")
    if all(is_number(cell.strip(' "')) for cell in header.split(delimiter)):
        raise DataError(f"{path}: expected a header with the names of the columns, got numbers, {header[:_SHOWN]}")
    comma = delimiter == ";" and _DECIMAL_COMMA.search(body)
    wrong: list[Any] = []

    def skip(row: Any) -> str:
        wrong.append(row)
        return "skip"

    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip)
    convert = pyarrow.csv.ConvertOptions(strings_can_be_null=True, decimal_point="," if comma else ".")
    read = pyarrow.csv.ReadOptions(use_threads=False)  # with threads, rows have no numbers
    table = pyarrow.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    if wrong:
        row = wrong[0]
        number = "" if row.number is None else f"row {row.number - 1}: "
        columns = f"expected {row.expected_columns} columns as in the header, got {row.actual_columns}"
        raise DataError(f"{path}: {number}{columns}: {row.text[:40]!r}")
    return table


def _head(path: Path) -> str:
    """The first lines of a text file, without carriage returns."""
    with regular_file(path) as file:
        # The last character may be cut.
        head = codecs.getincrementaldecoder("utf-8-sig")().decode(file.read(_HEAD))
    if not head.strip():
        raise DataError(f"{path}: expected a table with a header, got an empty file")
    return head.replace("\r\n", "\n").replace("\r", "\n")


def _check_utf8(path: Path) -> None:
    """Raise, with the first row that is wrong, unless a file is UTF-8 text: pyarrow prints some errors itself."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with regular_file(path) as file:
        try:
            while chunk := file.read(_HEAD):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise _not_utf8(path) from None


def _not_utf8(path: Path) -> DataError:
    """The error that names the first row which is not UTF-8 text."""
    with regular_file(path) as file:
        for number, line in enumerate(file):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte, row = line[error.start], f"row {number}" if number else "header"
                return DataError(f"{path}: {row}: expected UTF-8 text, got the byte {byte:#x}; save it as UTF-8")
    return DataError(f"{path}: expected UTF-8 text")
