"""Hostile files: refused at once, in one sentence, before what they declare is allocated."""

import os
import tracemalloc
from pathlib import Path
from time import perf_counter

import hostile_files as hostile
import numpy as np
import pytest

import pyrogen
from pyrogen.data.columns import natural_key
from pyrogen.data.mnist_cifar import _idx
from pyrogen.data.sources import untrusted
from pyrogen.data.sources.untrusted import available_memory, check_expansion, check_memory
from pyrogen.errors import ConfigError, DataError, UserError, printable, unknown

CODE = "__import__('pathlib').Path('executed').touch()"
REFUSED = {
    "rows": (hostile.npy("(1000000000000, 2)"), "shape (1000000000000, 2), float64: 16,000,000,000,000 bytes"),
    "rows without bytes": (hostile.npy("(1000000000000,)", "'|S0'"), "1,000,000,000,000 bytes, in a file of"),
    "more dimensions than fit": (hostile.npy(f"({'9' * 300}, 9)"), "in a file of"),
    "columns": (lambda folder: saved(folder, np.zeros((3, 1_000_001), np.uint8)), "at most 1,000,000 columns, got"),
    "holes": (hostile.holes, "bytes that unpack to 24,000,000,"),
    "code in the shape": (hostile.npy(f"({CODE},)"), "not the header of an array of numbers"),
    "code as the type": (hostile.npy("(1,)", CODE), "not the header of an array of numbers"),
    "nested brackets": (hostile.npy_header("(" * 9000), "not the header of an array of numbers"),
    "nested signs": (hostile.npy(f"({'-' * 8000}1,)"), "not the header of an array of numbers"),
    "a long header": (hostile.npy_header(" " * 10**6), "not the header of an array of numbers"),
    "packed zeros": (hostile.npz_bomb, "bytes that unpack to 104,857,"),
    "rows in a zip file": (hostile.npz_header, "a header of shape (1000000000000,)"),
    "packed columns": (hostile.parquet_bomb, "that unpack to 104,857,600"),
    "packed batches": (hostile.feather_bomb, "that unpack to 104,857,600"),
    "megapixels": (hostile.picture_bomb("png"), "that unpack to 88,360,000"),
    "megapixels of another format": (hostile.picture_bomb("gif"), "that unpack to 88,360,000"),
    "labels": (hostile.zip_of_labels, "labels.csv: expected at most 67,108,864 bytes"),
    "a text that is not UTF-8": (hostile.table_of([b"x", b"\xff\xfe", b"y"] * 4), "t.parquet"),
    "a name that is not UTF-8": (hostile.table_of([b"x", b"z", b"y"] * 4, b"\xff"), "t.parquet"),
    **{
        f"a FIFO as {name}": (hostile.fifo(name), "a FIFO")
        for name in ("a.npy", "a.npz", "t.csv", "t.parquet", "t.feather", "a.zip", "a.pt")
    },
    "a FIFO as a picture": (hostile.fifo("p/x.png"), "x.png cannot be read as an image: not a regular file"),
    "a FIFO as labels": (hostile.fifo("p/labels.csv"), "labels.csv: expected a table of labels: not a regular file"),
    "a device as an array": (hostile.device("a.npy"), "got a device"),
    "a device as a table": (hostile.device("t.csv"), "got a device"),
    "a device": (lambda folder: Path("/dev/zero"), "got a device"),
    "a name that is too long": (lambda folder: folder / ("a" * 5000 + ".npy"), "no such file"),
    "a home that does not exist": (lambda folder: Path("~nobody-here/a.npy"), "no such file"),
    "a field of a megabyte": (
        lambda folder: labelled(folder, "file,label\n0.png," + "9" * 10**6 + "\n"), "field larger than field limit"
    ),
}  # fmt: skip


def saved(folder: Path, x: np.ndarray) -> Path:
    np.save(folder / "a.npy", x)
    return folder / "a.npy"


def labelled(folder: Path, text: str) -> Path:
    hostile.picture(folder / "p" / "0.png")
    (folder / "p" / "labels.csv").write_text(text)
    return folder / "p"


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_refused_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, message = REFUSED[name]
    source = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("pyarrow.parquet")
    tracemalloc.start()
    began = perf_counter()
    try:
        with pytest.raises(UserError) as caught:
            pyrogen.load(source)
        seconds, (_, peak) = perf_counter() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    said = str(caught.value)
    assert message in said
    assert "\n" not in said
    assert peak < 50 << 20
    assert seconds < 10  # 0.01 s on an idle machine, but of a table of a million columns
    assert not (tmp_path / "executed").exists()


def test_a_class_folder_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    for folder in (b"\xff\x1b", b"b"):
        place = os.path.join(os.fsencode(tmp_path), b"p", folder)
        os.makedirs(place)
        hostile.picture(Path(os.fsdecode(place), "0.png"))
    with pytest.raises(DataError, match=r"expected names of class folders in UTF-8, got b'\\xff\\x1b'"):
        pyrogen.load(tmp_path / "p")


def test_packed_idx_files_are_read_no_further_than_they_should_be_long(tmp_path: Path) -> None:
    hostile.gzip_bomb(tmp_path / "labels.gz", bytes((0, 0, 8, 1)) + (1000).to_bytes(4, "big"))
    tracemalloc.start()
    with pytest.raises(DataError, match="expected 1000 values, got more"):
        _idx(tmp_path, "labels", (1000,))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_what_is_packed_tightly_but_small_is_read(tmp_path: Path) -> None:
    x = np.zeros((1000, 32, 32), np.uint8)
    x[::7, 3, 3] = 255
    x[::5, 4, 4] = 90
    np.savez_compressed(tmp_path / "a.npz", x=x)
    assert (tmp_path / "a.npz").stat().st_size < x.nbytes / 200
    assert len(pyrogen.load(tmp_path / "a.npz").train) == 800


def test_expansion_and_memory_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    check_expansion(1, 64 << 20, "small")
    check_expansion(1 << 30, 150 << 30, "a photograph library")
    with pytest.raises(DataError, match=r"x: 1,000 bytes that unpack to 100,000,000, more than 200 for each"):
        check_expansion(1000, 10**8, "x")
    assert 0 < available_memory() < 2**50
    monkeypatch.setattr(untrusted, "available_memory", lambda: 2.0**30)
    check_memory(2**30, "x")
    with pytest.raises(DataError, match=r"x: needs 2\.0 GiB of memory, of which 1\.0 GiB are available"):
        check_memory(2**31, "x")


def test_arrays_of_more_than_the_memory_are_mapped_but_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of memory does not hold for what stays on disk: honest files of any size are mapped."""
    monkeypatch.setattr(untrusted, "available_memory", lambda: 1000.0)
    monkeypatch.setattr("pyrogen.data.memmap.DISK_THRESHOLD", 1000)
    draws = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", draws.normal(size=(500, 3)).astype(np.float32))
    assert len(pyrogen.load(tmp_path / "a.npy").train) == 400
    np.save(tmp_path / "b.npy", draws.normal(size=(500, 3)))  # of a dtype that cannot be mapped
    with pytest.raises(DataError, match="GiB of memory"):
        pyrogen.load(tmp_path / "b.npy")


def test_numbers_of_thousands_of_digits_are_sorted() -> None:
    names = ["9" * 5000, "2", "11", "9" * 4999 + "a"]
    assert [len(name) for name in sorted(names, key=natural_key)] == [1, 2, 5000, 5000]


def test_a_wrong_name_among_many_is_refused_at_once() -> None:
    names = [f"column {i}" for i in range(200_000)]
    began = perf_counter()
    error = unknown("column", "columm 7", names)
    assert perf_counter() - began < 5
    assert isinstance(error, ConfigError)
    assert len(str(error)) < 5000
    assert "199,900 more" in str(error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 名 ≥ 3", "Größe 名 ≥ 3"),
        ("a\x1b[31m", r"a\x1b[31m"),
        ("\x7f\x9b2J\r\n\t", r"\x7f\x9b2J\r\n\t"),
        ("a\u202egpj.exe\u2066", r"a\u202egpj.exe\u2066"),
        ("\udcff", r"\udcff"),
        ("\u2028\ufeff\U000e0041", r"\u2028\ufeff\U000e0041"),
    ],
)
def test_what_a_terminal_obeys_is_shown_by_its_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()


def test_a_row_that_is_neither_whole_nor_utf8_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Pyarrow prints the traceback of an error in its handler of invalid rows."""
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"1,2\n" * 9 + b"\xe3\x81\n" + b"1,2\n")
    with pytest.raises(DataError, match="row 10: expected UTF-8 text"):
        pyrogen.load(tmp_path / "t.csv")
    assert capfd.readouterr() == ("", "")
