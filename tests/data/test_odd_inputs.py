"""Malformed and odd inputs: each is read with the right values, or refused in one sentence that names its fault."""

import io
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import pyrogen
from pyrogen.cli import main
from pyrogen.data import Dataset
from pyrogen.errors import DataWarning, UserError

DRAWS = np.random.default_rng(0)
REALS = DRAWS.normal(size=(30, 2)).round(4)
GREYS = DRAWS.integers(0, 256, (12, 4, 6), dtype=np.uint8)


class Case(NamedTuple):
    """An input, and what becomes of it.

    Args:
        make: writes it into a folder, and returns what is passed to ``load``.
        refused: pieces of the message, if it is refused.
        read: returns a value of the data set, if it is read, …
        gives: … which must be this one.
        warns: a piece of the warning.
        options: of ``load``.
    """

    make: Callable[[Path], Any]
    refused: tuple[str, ...] = ()
    read: Callable[[Dataset], Any] = lambda data: None
    gives: Any = None
    warns: str = ""
    options: dict[str, Any] = {}  # noqa: RUF012


def csv(text: str, encoding: str = "utf-8", name: str = "t.csv") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(text.encode(encoding))
        return folder / name

    return make


def rows(header: str, *extra: str, first: Any = REALS) -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in first), *extra]) + "\n"


def npy(x: Any, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.save(folder / "a.npy", x, **options)
        return folder / "a.npy"

    return make


def npz(**arrays: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.savez(folder / "a.npz", **arrays)
        return folder / "a.npz"

    return make


def pt(saved: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.save(saved, folder / "a.pt")
        return folder / "a.pt"

    return make


def cut(make: Callable[[Path], Path], kept: float) -> Callable[[Path], Path]:
    def shorter(folder: Path) -> Path:
        file = make(folder)
        whole = file.read_bytes()
        file.write_bytes(whole[: int(kept * len(whole))])
        return file

    return shorter


def parquet(folder: Path) -> Path:
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(frame({"a": REALS[:, 0], "b": REALS[:, 1]}), folder / "t.parquet")
    return folder / "t.parquet"


def frame(columns: dict[str, Any]) -> Any:
    return pytest.importorskip("pyarrow").table(columns)


def images(files: dict[str, Any], labels: str = "") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name, pixels in files.items():
            path = folder / "p" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if pixels is None:
                path.mkdir()
            else:
                Image.fromarray(pixels).save(path)
        if labels:
            (folder / "p" / "labels.csv").write_text(labels)
        return folder / "p"

    return make


def zipped(names: list[str], kept: float = 1.0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        buffer = io.BytesIO()
        Image.fromarray(GREYS[0]).save(buffer, "png")
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(name, buffer.getvalue())
        whole = (folder / "a.zip").read_bytes()
        (folder / "a.zip").write_bytes(whole[: int(kept * len(whole))])
        return folder / "a.zip"

    return make


def all_rows(data: Dataset) -> torch.Tensor:
    """All rows in the user's units."""
    return torch.cat([data.space.to_user(split.tensors()[0]) for split in (data.train, data.valid, data.test)])


def table(data: Dataset) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in sorted(all_rows(data).tolist())]


def kinds(data: Dataset) -> list[tuple[str, str]]:
    return [(column.name, column.kind) for column in data.space.columns]


def greatest(data: Dataset) -> float:
    return round(float(all_rows(data).max()), 6)


SORTED = [[round(float(value), 4) for value in row] for row in sorted(REALS.tolist())]
FLAT = {f"{i}.png": grey for i, grey in enumerate(GREYS)}
DEEP = DRAWS.integers(0, 4096, (12, 4, 6)).astype(np.uint16)
DEEP[0, 0, 0] = 4095
LABELS = "file,label\n" + "".join(f"{i}.png,{i % 3 + 1}\n" for i in range(12))
DATES = [f"2024-01-{day:02d}" for day in range(1, 31)]

CASES = {
    # Tables
    "a file of another type": Case(csv("a,b\n1,2\n", name="t.xlsx"), ("t.xlsx", "expected", ".csv", "got .xlsx")),
    "a file that does not exist": Case(lambda folder: folder / "t.csv", ("t.csv", "no such file")),
    "an empty file": Case(csv(""), ("t.csv", "expected a table with a header", "empty")),
    "a header only": Case(csv("a,b\n"), ("t.csv", "expected rows below the header a,b", "none")),
    "no header": Case(csv("1.5,2\n1.6,3\n1.7,4\n"), ("t.csv", "expected a header", "got numbers, 1.5,2")),
    "a column without a name": Case(csv(rows(",a")), ("t.csv", "column 1 has no name", "index=False")),
    "rows of different lengths": Case(
        csv(rows("a,b", "1.5")), ("t.csv", "row 31", "expected 2 columns as in the header, got 1")
    ),
    "a text among numbers": Case(
        csv(rows("a,b", "1.5,abc")), ("t.csv", "row 31", "column 'b'", "expected a number, got 'abc'")
    ),
    "a missing number": Case(
        csv(rows("a,b", "1.5,NA")), ("t.csv", "row 31", "column 'b'", "missing", "1 of 31 rows", "--drop-missing")
    ),
    "a missing number, dropped": Case(
        csv(rows("a,b", "1.5,NA")), read=table, gives=SORTED, options={"drop_missing": True}
    ),
    "an infinite number": Case(csv(rows("a,b", "1.5,-inf")), ("t.csv", "row 31", "column 'b'", "finite", "-inf")),
    "a column without values": Case(csv(rows("a,b,c", first=[(*r, "") for r in REALS])), ("column 'c' has no value",)),
    "a constant column": Case(
        csv(rows("a,b,c", first=[(*r, 7) for r in REALS])), ("column 'c' is constant, 7", "--drop-constant")
    ),
    "a constant column, dropped": Case(
        csv(rows("a,b,c", first=[(*r, 7) for r in REALS])), read=table, gives=SORTED, options={"drop_constant": True}
    ),
    "two columns of one name": Case(csv(rows("a,a")), ("t.csv", "different names, got 'a' twice")),
    "one row": Case(csv("a,b\n1.5,2\n"), ("t.csv", "at least 3 rows", "got 1")),
    "a byte order mark": Case(csv(rows("a,b"), "utf-8-sig"), read=table, gives=SORTED),
    "semicolons and decimal commas": Case(
        csv(rows("a,b").replace(",", ";").replace(".", ",")), read=table, gives=SORTED
    ),
    "tabs": Case(csv(rows("a,b").replace(",", "\t"), name="t.tsv"), read=table, gives=SORTED),
    "carriage returns": Case(csv(rows("a,b").replace("\n", "\r\n")), read=table, gives=SORTED),
    "Latin-1": Case(
        csv(rows("a,b", "1.5,é"), "latin-1"), ("t.csv", "row 31", "expected UTF-8 text, got the byte 0xe9")
    ),
    "a line break in quotes": Case(
        csv("a,b\n" + '1.5,"x\ny"\n2.5,z\n' * 6),
        read=lambda data: (data.space.columns[1].values, len(all_rows(data))),
        gives=(("x\ny", "z"), 12),
    ),
    "dates": Case(
        csv(rows("a,b,day", first=[(*r, day) for r, day in zip(REALS, DATES, strict=True)])),
        ("t.csv", "column 'day' holds dates", "convert it to a number"),
    ),
    "booleans": Case(
        csv(rows("a,b,ok", first=[(*r, str(i % 2 == 0).lower()) for i, r in enumerate(REALS)])),
        read=lambda data: (kinds(data)[2], all_rows(data)[:, 2].sum()),
        gives=(("ok", "binary"), 15),
    ),
    "large whole numbers as identifiers": Case(
        csv(rows("a,b,id", first=[(*r, 2**60 + 7 * i * i) for i, r in enumerate(REALS)])),
        ("row 1", "column 'id'", "expected numbers up to 2^53", str(2**60)),
    ),
    "a column that counts the rows": Case(
        csv(rows("a,b,id", first=[(*r, i) for i, r in enumerate(REALS)])),
        read=kinds,
        gives=[("a", "real"), ("b", "real"), ("id", "integer")],
        warns="column 'id' only counts the rows",
    ),
    "a category with 5,000 values": Case(
        lambda folder: frame({"a": DRAWS.normal(size=5000), "c": [f"n{i}" for i in range(5000)]}),
        ("column 'c' has 5000 different texts in 5000 rows", "'n0'", "a few categories"),
    ),
    "a target that is misspelt": Case(
        csv(rows("height,width")),
        ("t.csv", "unknown column 'hieght'", "did you mean 'height'"),
        options={"target": "hieght"},
    ),
    "a target of fractions": Case(
        csv(rows("a,b")), ("t.csv: column 'b'", "row 1", "whole numbers or texts; got"), options={"target": "b"}
    ),
    "a misspelt option": Case(csv(rows("a,b")), ("'taget'", "did you mean 'target'"), options={"taget": "b"}),
    "a truncated Parquet file": Case(cut(parquet, 0.7), ("t.parquet", "expected a .parquet file")),
    "a text file as Parquet": Case(csv("a,b\n", name="t.parquet"), ("t.parquet", "expected a .parquet file")),
    "lists in a column": Case(
        lambda folder: frame({"a": REALS.tolist()}), ("column 'a' holds list", "expected numbers")
    ),
    # Arrays
    "a truncated .npy file": Case(cut(npy(REALS), 0.5), ("a.npy", "expected numbers saved by numpy.save")),
    "a truncated .npz file": Case(cut(npz(x=REALS), 0.5), ("a.npz", "expected numbers saved by numpy.save")),
    "a pickled object": Case(npy(np.array([None, {}], object), allow_pickle=True), ("a.npy", "allow_pickle=False")),
    "no array x": Case(npz(a=REALS, b=REALS), ("a.npz", "expected an array 'x'", "got 'a', 'b'")),
    "too few labels": Case(npz(x=REALS, y=np.zeros(7)), ("a.npz", "one label y for each of 30 rows", "(7,)")),
    "labels that are fractions": Case(
        npz(x=REALS, y=REALS[:, 0]), ("a.npz: column 'y'", "row 1", "whole numbers or texts")
    ),
    "labels 1 to 3": Case(
        npz(x=REALS, y=np.arange(30) % 3 + 1),
        read=lambda data: (data.classes, sorted(set(data.train.y.tolist()))),  # type: ignore[union-attr]
        gives=(("1", "2", "3"), [0, 1, 2]),
    ),
    "five dimensions": Case(npy(np.zeros((9, 1, 4, 4, 4))), ("a.npy", "expected vectors", "(9, 1, 4, 4, 4)")),
    "one image without its batch dimension": Case(npy(np.zeros((32, 32, 3))), ("(32, 32, 3)", "one image", "x[None]")),
    "images with transparency": Case(npy(np.zeros((9, 8, 8, 4))), ("a.npy", "(9, 8, 8, 4)", "x[..., :3]")),
    "complex numbers": Case(npy(REALS.astype(complex)), ("a.npy", "expected an array of numbers", "complex128")),
    "an array of objects": Case(
        lambda folder: np.array([["a", 1.0]], object), ("ndarray", "dtype object", "put texts and mixed columns")
    ),
    "an array without rows": Case(npy(np.zeros((0, 8, 8))), ("a.npy", "(0, 8, 8)")),
    "NaN in images": Case(npy(np.where(np.arange(320) == 70, np.nan, 0.3).reshape(10, 4, 8)), ("1 NaN", "row 3")),
    "images beyond 1": Case(npy(GREYS / 2.0), ("a.npy", "expected values in [0, 1]", "divide by 255")),
    "images in half precision": Case(
        npy((GREYS / 255).astype(np.float16)), read=lambda data: (data.space.levels, greatest(data)), gives=(256, 1.0)
    ),
    "256ths": Case(npy(GREYS / 256), read=lambda data: data.space.levels, gives=256, warns="multiples of 1/256"),
    "15ths": Case(npy(GREYS % 16 / 15), read=lambda data: data.space.levels, gives=16, warns="read as 16 grey levels"),
    "12 bits in 16": Case(npy(DEEP), read=greatest, gives=1.0, warns="12-bit grey levels, divided by 4095"),
    "8 bits in 16": Case(npy(GREYS.astype(np.uint16)), read=lambda data: data.space.levels, gives=256),
    "a list": Case(lambda folder: [[1.0, 2.0]], ("expected a path, a tensor", "got a list")),
    "three arrays": Case(lambda folder: (REALS, REALS, REALS), ("expected x, or x and labels y", "got 3 parts")),
    # torch
    "a module": Case(pt(torch.nn.Linear(2, 2)), ("a.pt", "expected tensors", "objects can execute code")),
    "weights": Case(pt(torch.nn.Linear(2, 2).state_dict()), ("a.pt", "expected a tensor 'x'", "'bias', 'weight'")),
    "a truncated .pt file": Case(cut(pt(torch.zeros(9, 2)), 0.5), ("a.pt", "expected tensors saved by torch.save")),
    "a sparse tensor": Case(lambda folder: torch.eye(9).to_sparse(), ("Tensor", "expected a dense tensor", "sparse")),
    # Images
    "images of several sizes": Case(
        images({"a.png": GREYS[0], "b.png": GREYS[1].T}), ("a.png is 6 x 4", "b.png is 4 x 6", "--size 4")
    ),
    "images of several sizes, resized": Case(
        images({**FLAT, "c.png": GREYS[0].T}), read=lambda data: data.shape, gives=(1, 4, 4), options={"size": 4}
    ),
    "transparent images": Case(
        images({f"{i}.png": np.zeros((2, 2, 4), np.uint8) for i in range(3)}), read=greatest, gives=1.0
    ),
    "images of 16 bits": Case(
        images({f"{i}.png": np.full((2, 2), 60000 + i, np.uint16) for i in range(3)}),
        read=greatest,
        gives=round(60002 / 65535, 6),
    ),
    "images of 12 bits": Case(
        images({f"{i}.png": d for i, d in enumerate(DEEP)}), read=greatest, gives=1.0, warns="12-bit grey levels"
    ),
    "an empty class folder": Case(images({"cat/a.png": GREYS[0], "dog": None}), ("dog", "images of a class", "none")),
    "images too deep": Case(
        images({"cat/a.png": GREYS[0], "dog/x/a.png": GREYS[0]}), ("dog", "only deeper", "dog/x/a.png")
    ),
    "some images too deep": Case(
        images({**{f"cat/{name}": grey for name, grey in FLAT.items()}, "cat/x/a.png": GREYS[0]}),
        read=lambda data: len(all_rows(data)),
        gives=12,
        warns="1 images deeper than the class folders are left out, such as cat/x/a.png",
    ),
    "thumbnails": Case(
        images({**FLAT, "@eaDir/a.png": GREYS[0]}), read=lambda data: len(all_rows(data)), gives=12, warns="@eaDir"
    ),
    "a class that training lacks": Case(
        images({"train/cat/a.png": GREYS[0], "test/dog/a.png": GREYS[0]}), ("test", "classes of train (cat)", "'dog'")
    ),
    "a split without training": Case(images({"val/a.png": GREYS[0], "test/b.png": GREYS[0]}), ("a folder train",)),
    "labels in a file": Case(images(FLAT, LABELS), read=lambda data: data.classes, gives=("1", "2", "3")),
    "a label of a missing file": Case(images(FLAT, LABELS + "12.png,1\n"), ("labels.csv: row 13", "'12.png'")),
    "an image without label": Case(images({**FLAT, "x.png": GREYS[0]}, LABELS), ("labels.csv", "none for x.png")),
    "labels under another header": Case(
        images(FLAT, "a,b\n0.png,1\n"), ("expected a header such as file,label", "a,b")
    ),
    "a text as an image": Case(
        lambda folder: csv("no image", name="a.png")(folder).parent, ("a.png", "expected an image", "PNG, JPEG")
    ),
    "a truncated .zip file": Case(zipped(["a/0.png", "b/1.png"], 0.5), ("a.zip", "expected a zip file of images")),
    "a .zip file that points outside": Case(zipped(["../../a.png"]), ("a.zip", "inside the zip file", "../../a.png")),
    "a .zip file without images": Case(zipped(["a.txt"]), ("a.zip", "expected image files", "found none")),
    "a .zip file of a folder": Case(
        zipped([f"photos/{c}/{i}.png" for c in ("2", "11") for i in range(6)]),
        read=lambda data: (data.classes, len(all_rows(data))),
        gives=(("2", "11"), 12),
    ),
    "an option of tables for images": Case(images(FLAT), ("target is an option of tables",), options={"target": "a"}),
    "an option of images for a table": Case(
        csv(rows("a,b")), ("size is an option of image files",), options={"size": 8}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_odd_input_is_read_right_or_refused(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source = case.make(tmp_path)
    if case.refused:
        with pytest.raises(UserError) as caught:
            pyrogen.load(source, **case.options)
        message = str(caught.value)
        assert "\n" not in message
        assert all(piece in message for piece in case.refused), message
        return
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        data = pyrogen.load(source, **case.options)
        found = case.read(data)
    assert found == case.gives
    said = [str(warning.message) for warning in caught_warnings]
    assert [warning.category for warning in caught_warnings] == ([DataWarning] if case.warns else [])
    assert case.warns in "".join(said)


ON_THE_COMMAND_LINE = {
    "a text among numbers": (),
    "a truncated .npz file": (),
    "a target that is misspelt": ("--target", "hieght"),
    "images of several sizes": (),
    "a truncated .zip file": (),
    "dates": (),
}


@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
def test_the_command_line_exits_with_status_2_and_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, options = CASES[name].make(tmp_path), ON_THE_COMMAND_LINE[name]
    monkeypatch.setattr(sys, "argv", ["pyrogen", "train", "vae", "--data", str(source), *options])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert all(piece in error for piece in CASES[name].refused)
