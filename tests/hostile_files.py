"""Small files that declare huge contents, hold code, or are no files."""

import gzip
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Make = Callable[[Path], Path]
ZEROS = 100 << 20
"""So many zeros are packed into files: 1000 times the size of the file, and quickly written."""


def npy_header(header: str) -> Make:
    """A ``.npy`` file of this header and eight bytes."""

    def make(folder: Path) -> Path:
        text = header.encode() + b"\n"
        (folder / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + bytes(8))
        return folder / "a.npy"

    return make


def npy(shape: str, descr: str = "'<f8'") -> Make:
    """A ``.npy`` file that declares a shape."""
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


def holes(folder: Path) -> Path:
    """A ``.npy`` file as long as its header says, which has one block on disk."""
    file = npy("(1000000000, 3)")(folder)
    os.truncate(file, file.stat().st_size - 8 + 24 * 10**9)
    return file


def npz_bomb(folder: Path) -> Path:
    """Packed zeros."""
    np.savez_compressed(folder / "a.npz", x=np.zeros(ZEROS, np.uint8))
    return folder / "a.npz"


def npz_header(folder: Path) -> Path:
    """An array in an ``.npz`` file that declares more rows than it has."""
    member = npy("(1000000000000,)")(folder)
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.write(member, "x.npy")
    return folder / "a.npz"


def parquet_bomb(folder: Path) -> Path:
    """Packed zeros as a column."""
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    pq.write_table(pa.table({"a": np.zeros(ZEROS // 8)}), folder / "t.parquet", compression="zstd")
    return folder / "t.parquet"


def feather_bomb(folder: Path) -> Path:
    """Packed zeros as a column of one batch."""
    feather, pa = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow")
    feather.write_feather(
        pa.table({"a": np.zeros(ZEROS // 8)}), str(folder / "t.feather"), compression="zstd", chunksize=ZEROS
    )
    return folder / "t.feather"


def picture_bomb(suffix: str) -> Make:
    """An image of 88 megapixels in a few kilobytes (11 as PNG), below Pillow's own limit."""

    def make(folder: Path) -> Path:
        (folder / "p").mkdir()
        Image.new("1", (9400, 9400)).save(folder / "p" / f"a.{suffix}", optimize=True)
        assert (folder / "p" / f"a.{suffix}").stat().st_size < 200_000
        return folder / "p"

    return make


def zip_of_labels(folder: Path) -> Path:
    """A zip file of a picture, and of labels that unpack to 100 MiB."""
    picture(folder / "0.png")
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "0.png", "0.png")
        archive.writestr("labels.csv", "file,label\n" + "0" * ZEROS)
    return folder / "a.zip"


def picture(path: Path) -> None:
    """A small image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((6, 5), 50).save(path)


def fifo(name: str) -> Make:
    """A FIFO in place of a file, which nobody writes to; beside images if the name has a folder."""

    def make(folder: Path) -> Path:
        file = folder / name
        if "/" in name:
            for i in range(5):
                picture(file.parent / f"{i}.png")
        os.mkfifo(file)
        return file.parent if "/" in name else file

    return make


def device(name: str) -> Make:
    """A link to a device without an end."""

    def make(folder: Path) -> Path:
        (folder / name).symlink_to("/dev/zero")
        return folder / name

    return make


def table_of(column: Any, name: bytes = b"b") -> Make:
    """A Parquet file with a column of texts whose bytes are given, beside one of numbers."""

    def make(folder: Path) -> Path:
        pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
        texts = pa.array(column, pa.binary())
        numbers = pa.array(np.arange(len(column)) ** 2 % 7 / 3)
        columns = [numbers, pa.Array.from_buffers(pa.string(), len(column), texts.buffers())]
        schema = pa.schema([pa.field("a", pa.float64()), pa.field(name, pa.string())])
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), folder / "t.parquet", store_schema=False)
        return folder / "t.parquet"

    return make


def gzip_bomb(file: Path, header: bytes) -> None:
    """A header and zeros, packed."""
    file.write_bytes(gzip.compress(header + bytes(ZEROS), compresslevel=1))
