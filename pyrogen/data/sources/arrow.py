"""Tables of pyarrow, and data frames through it, as columns of numpy arrays."""

import io
import struct
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pyrogen.errors import DataError


class Columns(NamedTuple):
    """The columns of a table.

    Args:
        table: numbers, booleans or texts by name; NaN or ``None`` where a value is missing.
        categorical: the names of columns that the source declares categorical.
    """

    table: dict[str, NDArray[Any]]
    categorical: tuple[str, ...]


class Frame(Protocol):
    """A table that exports itself to Arrow, such as a data frame of pandas or polars, or a pyarrow table."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Export the table by the PyCapsule interface."""
        ...


def require_pyarrow(where: str) -> Any:
    """The module ``pyarrow``; raise ``DataError`` with the command that installs it if it is missing."""
    try:
        import pyarrow.compute
    except ImportError:
        raise DataError(f"{where}: reading tables needs pyarrow: pip install 'pyrogen[tables]'") from None
    return pyarrow


def is_frame(source: Any) -> bool:
    """Whether an object is a table: of pandas, polars or pyarrow, or any that exports itself to Arrow."""
    if isinstance(source, type):
        return False
    return (_module(source) == "pandas" and hasattr(source, "columns")) or any(
        hasattr(source, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "to_arrow", "collect_schema")
    )


def _module(source: Any) -> str:
    return type(source).__module__.split(".")[0]


def to_arrow(source: Any, where: str) -> Any:
    """A data frame as a ``pyarrow.Table``, without its index.

    Raises:
        DataError: if it cannot be converted, naming the column.
    """
    pa = require_pyarrow(where)
    if hasattr(source, "collect") and not hasattr(source, "to_arrow"):
        raise DataError(f"{where}: expected a table in memory: call its method collect()")
    try:
        if isinstance(source, pa.Table):
            return source
        if _module(source) == "pandas" and hasattr(source, "columns"):
            return pa.Table.from_pandas(source, preserve_index=False)
        if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
            return pa.table(source)
        return pa.table(source.to_arrow())
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        raise DataError(f"{where}: expected a table of numbers, booleans and texts: {one_line(error)}") from error


def parquet_bytes(table: Any) -> bytes:
    """A ``pyarrow.Table`` as the content of a Parquet file."""
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def one_line(error: BaseException) -> str:
    """The first sentence of each part of an error's message, which may have several lines."""
    parts = error.args if error.args and all(isinstance(part, str) for part in error.args) else (str(error),)
    return "; ".join(" ".join(part.split()).split(". ")[0] for part in parts) or type(error).__name__


def unpacked_bytes(message: Any) -> int:
    """The bytes to which the compressed buffers of a message of Arrow's IPC format declare to unpack; 0 for others.

    Decompression allocates this size before it compares it with the data. A compressed buffer begins with it.

    Raises:
        struct.error: if the message is damaged.
    """
    head, body = bytes(message.metadata), message.body
    batch = _field(head, _at(head, 0, "I"), 2)
    if message.type == "dictionary":
        batch = _field(head, batch, 1)
    if not body or not _field(head, batch, 3):  # without compression
        return 0
    buffers = _field(head, batch, 2)
    offsets = [_at(head, buffers + 4 + 16 * i, "q") for i in range(_at(head, buffers, "I"))]
    lengths = [_at(head, buffers + 12 + 16 * i, "q") for i in range(len(offsets))]
    return sum(
        max(0, _at(bytes(body.slice(offset, 8)), 0, "q"))
        for offset, length in zip(offsets, lengths, strict=True)
        if length > 0
    )


def _field(head: bytes, table: int, i: int) -> int:
    """The place of what field i of a table of a flatbuffer refers to; 0 if the table has no such field."""
    fields = table - _at(head, table, "i")
    entry = _at(head, fields + 4 + 2 * i, "H") if 4 + 2 * i < _at(head, fields, "H") else 0
    return table + entry + _at(head, table + entry, "I") if entry else 0


def _at(head: bytes, place: int, kind: str) -> int:
    if place < 0:
        raise struct.error("a place before the start")
    return int(struct.unpack_from(f"<{kind}", head, place)[0])


def arrow_columns(table: Any, where: str) -> Columns:
    """The columns of a ``pyarrow.Table``.

    Booleans, numbers and texts are read as they are, decimals as ``float64``, and dictionary-encoded columns as
    categories. The index that pandas stores with a table is left out.

    Raises:
        DataError: naming a column of another type, of which dates are one, or a name that is missing or occurs twice.
    """
    try:
        names = [name.strip() for name in table.column_names]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected the names of columns in UTF-8, got {error.object!r}") from error
    for i, name in enumerate(names):
        if not name:
            raise DataError(
                f"{where}: column {i + 1} has no name: name it, or leave it out if it is an index that pandas wrote "
                "(to_csv(index=False))"
            )
        if name in names[:i]:
            raise DataError(f"{where}: expected columns with different names, got {name!r} twice")
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    kept = [i for i, name in enumerate(names) if name not in index]
    pa = require_pyarrow(where)
    types = {names[i]: table.schema.field(i).type for i in kept}
    categorical = tuple(name for name, kind in types.items() if pa.types.is_dictionary(kind))
    return Columns({names[i]: _values(table.column(i), names[i], where) for i in kept}, categorical)


def _values(column: Any, name: str, where: str) -> NDArray[Any]:
    pa = require_pyarrow(where)
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_temporal(kind):
        raise DataError(
            f"{where}: column {name!r} holds dates or times ({kind}): convert it to a number, such as days since the "
            "first one, or leave it out"
        )
    if pa.types.is_null(kind) or column.null_count == len(column) > 0:
        raise DataError(f"{where}: column {name!r} has no value in any row: leave it out")
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not (is_text or is_number or pa.types.is_boolean(kind)):
        raise DataError(f"{where}: column {name!r} holds {kind}: expected numbers, booleans or texts")
    if is_text or (column.null_count and not pa.types.is_floating(kind)):
        try:
            return np.array(column.to_pylist(), dtype=object)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: column {name!r}: expected UTF-8 text, got {error.object!r}") from error
    values: NDArray[Any] = column.to_numpy()
    return values
