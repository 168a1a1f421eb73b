"""Tables: data frames, files and the kinds of columns, and other tables in the space of a first one."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pyrogen
from pyrogen.data import Dataset, ReadOptions, Space
from pyrogen.data.sources.dispatch import read_user_data
from pyrogen.data.table import RawData, table_data
from pyrogen.errors import DataError, DataWarning

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")

N = 60
DRAWS = np.random.default_rng(0)
PEOPLE = {
    "age": DRAWS.integers(18, 80, N),
    "height": DRAWS.normal(170, 10, N),
    "sex": DRAWS.choice(["f", "m"], N),
    "city": DRAWS.choice(["Rome", "Oslo", "Bern"], N),
    "smokes": DRAWS.random(N) < 0.5,
    "group": DRAWS.choice(["1", "2", "11"], N),
}
KINDS = [
    ("age", "integer", "int64", ()),
    ("height", "real", "float64", ()),
    ("sex", "binary", "str", ("f", "m")),
    ("city", "categorical", "str", ("Bern", "Oslo", "Rome")),
    ("smokes", "binary", "bool", ()),
]


def frame() -> Any:
    return pd.DataFrame(PEOPLE)


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"people{suffix}"
    if suffix == ".csv":
        frame().to_csv(path, index=False)
    elif suffix == ".parquet":
        frame().set_index(pd.Index(range(5, 5 + N), name="row")).to_parquet(path)
    elif suffix == ".feather":
        frame().to_feather(path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.table(PEOPLE).schema) as stream:
            stream.write_table(pa.table(PEOPLE))
    return path


class Duck:
    """A data frame that knows only ``to_arrow``."""

    def to_arrow(self) -> Any:
        return pa.table(PEOPLE)


def user_rows(data: Dataset) -> dict[str, list[Any]]:
    """All rows in the user's types, in the order of age and height."""
    splits = (data.train, data.valid, data.test)
    rows = torch.cat([data.space.to_user(split.tensors()[0]) for split in splits]).double().numpy()
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return {c.name: c.to_user(rows[:, i]).tolist() for i, c in enumerate(data.space.columns)}


@pytest.mark.parametrize(
    "kind", ["pandas", "arrow", "batch", "duck", "polars", ".csv", ".parquet", ".feather", ".arrow"]
)
def test_every_table_is_the_same(kind: str, tmp_path: Path) -> None:
    if kind.startswith("."):
        source: Any = written(tmp_path, kind)
    elif kind == "polars":
        source = pytest.importorskip("polars").DataFrame({name: list(values) for name, values in PEOPLE.items()})
    else:
        makes = {"pandas": frame, "arrow": lambda: pa.table(PEOPLE), "duck": Duck}
        source = makes[kind]() if kind in makes else pa.table(PEOPLE).to_batches()[0]
    data = pyrogen.load(source, target="group")
    assert [(c.name, c.kind, c.dtype, c.values) for c in data.space.columns] == KINDS
    assert data.shape == (7,)
    assert data.classes == ("1", "2", "11")
    order = np.lexsort((PEOPLE["height"], PEOPLE["age"]))
    found = user_rows(data)
    for name, values in found.items():
        expected = np.asarray(PEOPLE[name])[order].tolist()
        assert values == (pytest.approx(expected, abs=1e-4) if name == "height" else expected)


def test_dictionaries_are_categories_and_others_can_be_declared() -> None:
    people = frame().assign(city=lambda p: p.city.astype("category"), code=pd.Categorical(DRAWS.choice([3, 5, 10], N)))
    columns = pyrogen.load(people, categorical=["age"]).space.columns
    assert [(c.name, c.dtype) for c in columns if c.kind == "categorical"] == [
        ("age", "int64"),
        ("city", "str"),
        ("group", "str"),
        ("code", "int64"),
    ]
    assert columns[-1].values == ("3", "5", "10")


def test_decimals_and_numbers_that_may_be_missing() -> None:
    columns = {
        "decimal": pa.array([f"{v:.2f}" for v in range(N)]).cast(pa.decimal128(9, 2)),
        "whole": pa.array([None, *range(2, 2 * N, 2)]),
        "yes": pa.array([True, None, *[False, True] * (N // 2 - 1)]),
        "word": pa.array(["x", "y", None, "x", *["y"] * (N - 4)]),
        "real": pa.array([*DRAWS.normal(size=N - 1), float("nan")]),
    }
    with pytest.raises(DataError, match=r"Table: row 1, column 'whole': the value is missing .* 1 of 60 rows"):
        pyrogen.load(pa.table(columns))
    with pytest.warns(DataWarning, match="counts the rows"):
        raw = read_user_data(pa.table(columns), ReadOptions(drop_missing=True))
    assert len(raw.x) == N - 4
    assert [(c.kind, c.dtype, c.step) for c in raw.space.columns[:3]] == [
        ("integer", "float64", 1.0),
        ("integer", "int64", 2.0),
        ("binary", "bool", 1.0),
    ]


def test_texts_and_tables_without_pyarrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = written(tmp_path, ".csv")
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    for source in (file, frame()):
        with pytest.raises(DataError, match=r"reading tables needs pyarrow: pip install 'pyrogen\[tables\]'$"):
            pyrogen.load(source)


def test_a_lazy_frame_and_a_column_are_refused() -> None:
    with pytest.raises(DataError, match="Series: expected a table"):
        pyrogen.load(frame()["age"])
    polars = pytest.importorskip("polars")
    with pytest.raises(DataError, match=r"LazyFrame: .* call its method collect\(\)"):
        pyrogen.load(polars.DataFrame({"a": [1]}).lazy())


# Other tables in the space of a first one


FIRST = {"a": np.arange(0, 30, 3), "b": np.linspace(0, 1, 10) ** 2, "c": np.array(list("xyxyzxyxyz"), object)}


def first() -> RawData:
    return table_data(FIRST, "first")


def changed(**columns: Any) -> dict[str, Any]:
    return FIRST | {name: np.array(values) for name, values in columns.items()}


def test_another_table_is_coded_as_the_first() -> None:
    space = first().space
    other = table_data({"c": np.array(["z", "z"], object), "new": np.ones(2), "b": np.ones(2), "a": np.array([33, 3])},
                       "other", space=space)  # fmt: skip
    assert other.space is space
    assert other.x.tolist() == [[33, 1, 2], [3, 1, 2]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(a=[4, *[0] * 9]), "other: row 1, column 'a': expected 0 plus a multiple of 3, .* got 4"),
        (changed(c=["x"] * 9 + ["w"]), "other: row 10, column 'c': expected one of x, y, z; got 'w'"),
        (changed(b=["1.5"] * 9 + ["w"]), "other: row 10, column 'b': expected a number, got 'w'"),
        ({"a": FIRST["a"]}, "other: expected a column 'b', as in the training data; got a"),
    ],
)
def test_values_outside_the_space_are_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        table_data(table, "other", space=first().space)


def test_a_table_in_place_of_images_and_the_reverse() -> None:
    with pytest.raises(DataError, match=r"expected a density on \[0, 1\], as in the training data; got a table"):
        table_data(FIRST, "other", space=Space("unit"))
    with pytest.raises(DataError, match="expected a mass on a lattice"):
        pyrogen.load(DRAWS.random((9, 4, 4)), space=first().space)


def test_labels_of_other_data_are_coded_by_the_first_classes() -> None:
    x = DRAWS.normal(size=(30, 2))
    data = pyrogen.load((x, np.array(["a", "b", "c"] * 10)))
    other = pyrogen.load((x, np.array(["c", "b"] * 15)), space=data.space, classes=data.classes)
    assert other.classes == ("a", "b", "c")
    assert set(other.train.y.tolist()) == {1, 2}  # type: ignore[union-attr]
    with pytest.raises(DataError, match="expected the classes a, b, c, as in the training data; got 'd'"):
        pyrogen.load((x, np.array(["c", "d"] * 15)), classes=data.classes)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.float32])
def test_differences_of_small_integers_do_not_overflow(dtype: type) -> None:
    low = 0 if dtype == np.uint8 else -100
    column = table_data({"a": np.array([low, 100, 60, 20], dtype)}, "t").space.columns[0]
    assert (column.low, column.step, column.low + column.step * (column.cells - 1)) == (
        low,
        20 if low == 0 else 40,
        100,
    )


def test_text_that_is_not_utf8_is_named_wherever_it_is(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    for row, name in ((0, "header"), (3, "row 3"), (150, "row 150")):
        lines = [b"a,b", *(b"%d,x%d" % (i * i, i % 3) for i in range(200))]
        lines[row] += b"\xe9"
        file.write_bytes(b"\n".join(lines))
        with pytest.raises(DataError, match=f"t.csv: {name}: expected UTF-8 text, got the byte 0xe9"):
            pyrogen.load(file)
