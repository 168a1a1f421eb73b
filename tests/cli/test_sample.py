"""``pyrogen sample``: what the files hold, and that they are whole."""

import csv
import io

import numpy as np
import pytest
import torch
from commands import caller
from PIL import Image
from recipe_cases import flags

from pyrogen.cli import sample_files
from pyrogen.cli.sample import class_number, output_form
from pyrogen.cli.sample_files import csv_rows, folder_name, parquet_rows, user_columns
from pyrogen.data import load, loading
from pyrogen.data.columns import Column
from pyrogen.data.table import ReadOptions, table_data
from pyrogen.errors import ConfigError, RunError
from pyrogen.files import whole_folder
from pyrogen.report import grid_png

SMALL = ("--steps", 4, "--batch-size", 32)
DRAWS = np.random.default_rng(0)
N = 400
JOBS = np.array(["craft", "farm", "office", "research", 'none, or "other"'], dtype=object)
TABLE = {
    "age": DRAWS.integers(18, 90, N),
    "income (€)": np.exp(9 + DRAWS.standard_normal(N)),
    "weight": DRAWS.integers(400, 500, N) / 10,
    "height": DRAWS.integers(150, 200, N).astype(np.float32) / 100,
    "owner": DRAWS.random(N) < 0.4,
    "job": JOBS[DRAWS.integers(0, 5, N)],
    "answer": np.array(["no", "yes"], dtype=object)[DRAWS.integers(0, 2, N)],
    "group": np.array(["a", "b", "c"], dtype=object)[DRAWS.integers(0, 3, N)],
}


@pytest.fixture
def pyrogen(monkeypatch, capsys, tmp_path):
    """Call the command line in this process: ``(status, stderr)``."""
    call = caller(monkeypatch, capsys, tmp_path)
    return lambda *arguments: call(*arguments)[::2]


@pytest.fixture
def people(monkeypatch, tmp_path):
    """``people.npy`` is read as the mixed table, with ``group`` as its labels."""
    monkeypatch.setattr(
        loading, "read_user_data", lambda source, options, space=None: table_data(TABLE, "people", TARGET, space)
    )
    np.save(tmp_path / "people.npy", np.zeros(3))
    return tmp_path / "people.npy"


TARGET = ReadOptions(target="group")
FEATURES = [name for name in TABLE if name != "group"]


def read(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


class TestTables:
    def test_rows_have_the_names_types_and_values_of_the_data(self, pyrogen, people, tmp_path):
        """Also 0.1-steps without rounding error, and texts with commas and quotes."""
        assert pyrogen("train", "gaussian", "--data", people, "--out", "run", *SMALL)[0] == 0
        assert pyrogen("sample", "run", "--n", 700, "--out", "new.csv")[0] == 0
        rows = read(tmp_path / "new.csv")
        assert len(rows) == 700
        assert list(rows[0]) == FEATURES
        for row in rows:
            assert 18 <= int(row["age"]) < 90
            assert float(row["weight"]) in np.arange(400, 500) / 10
            assert np.float32(row["height"]) in np.arange(150, 200).astype(np.float32) / 100
            assert len(row["height"]) <= 4
            assert row["owner"] in ("True", "False")
            assert row["job"] in JOBS
            assert row["answer"] in ("no", "yes")
        assert len({row["income (€)"] for row in rows}) == 700
        assert {row["job"] for row in rows} == set(JOBS)

    def test_parquet_and_csv_hold_the_same(self, pyrogen, people, tmp_path):
        parquet = pytest.importorskip("pyarrow.parquet")
        pyrogen("train", "cgan", "--data", people, "--out", "run", *SMALL, *flags("cgan"))
        for name in ("new.csv", "new.parquet", "new.npy"):
            assert pyrogen("sample", "run", "--n", 50, "--seed", 2, "--out", name) == (0, f"wrote {name}\n")
        table = parquet.read_table(tmp_path / "new.parquet")
        types = dict(zip(table.column_names, map(str, table.schema.types), strict=True))
        texts = dict.fromkeys(("job", "answer", "label"), "string")
        assert types == {
            "age": "int64", "income (€)": "double", "weight": "double", "height": "float", "owner": "bool", **texts
        }  # fmt: skip
        rows = read(tmp_path / "new.csv")
        for name in table.column_names:
            values = table.column(name).to_pylist()
            if types[name] == "float":
                assert np.allclose([float(row[name]) for row in rows], values)
            else:
                assert [row[name] for row in rows] == list(map(str, values))
        assert set(table.column("label").to_pylist()) == {"a", "b", "c"}
        array = np.load(tmp_path / "new.npy")
        assert array.dtype == np.float64
        assert array.shape == (50, len(FEATURES))
        assert array[:, 0].tolist() == table.column("age").to_pylist()

    def test_labels_are_chosen_by_name_or_number(self, pyrogen, people, tmp_path):
        pyrogen("train", "cgan", "--data", people, "--out", "run", *SMALL, *flags("cgan"))
        for given, label in (("b", "b"), (2, "c")):
            assert pyrogen("sample", "run", "--n", 5, "--label", given, "--out", "new.csv")[0] == 0
            assert [row["label"] for row in read(tmp_path / "new.csv")] == [label] * 5
        assert pyrogen("sample", "run", "--n", 2, "--per-class", "--out", "new.csv")[0] == 0
        assert [row["label"] for row in read(tmp_path / "new.csv")] == list("aabbcc")
        assert pyrogen("sample", "run", "--n", 50, "--label", "a", "--out", "new.png")[0] == 0
        status, err = pyrogen("sample", "run", "--label", "bb")
        assert status == 2
        assert "unknown class 'bb'; did you mean 'b'? (known: a, b, c)" in err
        assert "exclude each other" in pyrogen("sample", "run", "--label", "b", "--per-class")[1]
        assert "needs images" in pyrogen("sample", "run", "--per-class")[1]

    def test_rows_of_a_table_name_their_cluster(self, pyrogen, people, tmp_path):
        pyrogen("train", "gmvae", "--data", people, "--out", "run", *SMALL, *flags("gmvae"))
        assert pyrogen("sample", "run", "--n", 2, "--per-cluster", "--out", "new.csv")[0] == 0
        assert [row["cluster"] for row in read(tmp_path / "new.csv")] == list("0011")
        assert "--per-cluster with a .png needs images" in pyrogen("sample", "run", "--per-cluster")[1]

    def test_samples_of_a_new_table_are_read_as_the_old_one(self):
        """Written, read and described again, samples have the columns of the data."""
        raw = table_data(TABLE, "people", TARGET)
        table = user_columns(raw.x, raw.space.columns, raw.y, raw.classes, "group")
        again = table_data(table, "again", TARGET)
        assert again.space == raw.space
        assert torch.equal(again.x, raw.x)
        assert again.classes == raw.classes
        assert torch.equal(again.y, raw.y)


class TestColumns:
    def test_the_label_has_its_own_name_and_type(self):
        columns = (Column("label", "real"),)
        rows, labels = torch.zeros(2, 1), torch.tensor([1, 0])
        for classes, values in (
            (("3", "12"), [12, 3]),
            (("False", "True"), [True, False]),
            (("01", "x"), ["x", "01"]),
        ):
            table = user_columns(rows, columns, labels, classes, "label")
            assert list(table) == ["label", "label_"]
            assert table["label_"].tolist() == values

    def test_samples_that_are_not_finite_are_refused(self):
        rows = torch.tensor([[0.0], [torch.nan]])
        with pytest.raises(ConfigError, match="1 of 2 samples are not finite"):
            user_columns(rows, (Column("x", "real"),), None, (), "label")

    def test_numbers_keep_their_digits(self):
        table = {"a": np.array([0.1, 1e-20]), "b": np.array([0.1, 2.5], dtype=np.float32), "c": np.array([True, False])}
        assert csv_rows(table).decode() == "a,b,c\n0.1,0.1,True\n1e-20,2.5,False\n"

    def test_parquet_without_pyarrow(self, pyrogen, monkeypatch):
        monkeypatch.setattr(sample_files, "find_spec", lambda name: None)
        status, err = pyrogen("sample", "anywhere", "--out", "new.parquet")
        assert (status, err.count("\n")) == (2, 1)
        assert "pip install 'pyrogen[tables]'" in err

    def test_an_empty_text_and_a_large_table(self):
        table = {"x": np.array(["", "ä"], dtype=object), "y": np.array([1, 2])}
        assert csv_rows(table).decode() == "x,y\n,1\nä,2\n"
        assert len(parquet_rows(table)) > 100


class TestImages:
    def test_a_folder_of_images(self, pyrogen, tmp_path):
        pyrogen("train", "vae", "--out", "run", *SMALL, *flags("vae"))
        assert pyrogen("sample", "run", "--n", 12, "--out", "new/")[0] == 0
        files = sorted((tmp_path / "new").iterdir())
        assert [path.name for path in files] == [f"{i:05}.png" for i in range(12)]
        pyrogen("sample", "run", "--n", 12, "--out", "new.npy")
        array = np.load(tmp_path / "new.npy")
        assert 0 <= array.min() <= array.max() <= 1
        for path, image in zip(files, array, strict=True):
            with Image.open(path) as picture:
                assert picture.size == (8, 8)
                assert np.abs(np.asarray(picture) / 255 - image[0]).max() <= 0.5 / 255 + 1e-6
        status, err = pyrogen("sample", "run", "--out", "new")
        assert status == 2
        assert "is not an empty folder" in err
        assert len(list((tmp_path / "new").iterdir())) == 12
        (tmp_path / "empty").mkdir()
        assert pyrogen("sample", "run", "--n", 2, "--out", "empty")[0] == 0
        assert len(list((tmp_path / "empty").iterdir())) == 2

    def test_classes_have_folders_and_rows(self, pyrogen, tmp_path):
        pyrogen("train", "cgan", "--out", "run", *SMALL, *flags("cgan"))
        assert pyrogen("sample", "run", "--n", 3, "--per-class", "--out", "new/")[0] == 0
        found = {path.name: sorted(image.name for image in path.iterdir()) for path in (tmp_path / "new").iterdir()}
        assert found == {str(k): [f"{3 * k + i:05}.png" for i in range(3)] for k in range(10)}
        assert load(tmp_path / "new").classes == tuple(map(str, range(10)))
        assert pyrogen("sample", "run", "--n", 7, "--out", "drawn/")[0] == 0
        assert len(list((tmp_path / "drawn").rglob("*.png"))) == 7
        assert pyrogen("sample", "run", "--per-class", "--out", "grid.png")[0] == 0
        with Image.open(tmp_path / "grid.png") as sheet:
            assert sheet.size == (10 * 42 - 2, 10 * 42 - 2)
        assert pyrogen("sample", "run", "--per-class", "--n", 2, "--out", "grid.png")[0] == 0
        with Image.open(tmp_path / "grid.png") as sheet:
            assert sheet.size == (2 * 42 - 2, 10 * 42 - 2)
        assert "images" in pyrogen("sample", "run", "--out", "new.csv")[1]

    def test_clusters_have_folders_and_rows(self, pyrogen, tmp_path):
        pyrogen("train", "gmvae", "--out", "run", *SMALL, *flags("gmvae"))
        assert pyrogen("sample", "run", "--n", 3, "--per-cluster", "--out", "new/")[0] == 0
        found = {path.name: sorted(image.name for image in path.iterdir()) for path in (tmp_path / "new").iterdir()}
        assert found == {str(k): [f"{3 * k + i:05}.png" for i in range(3)] for k in range(2)}
        assert pyrogen("sample", "run", "--per-cluster", "--means", "--out", "grid.png")[0] == 0
        with Image.open(tmp_path / "grid.png") as sheet:
            assert sheet.size == (10 * 42 - 2, 2 * 42 - 2)
        assert "--per-class and --per-cluster exclude" in pyrogen("sample", "run", "--per-class", "--per-cluster")[1]
        assert pyrogen("cluster", "run", "--method", "model", "--out", "own.csv")[0] == 0
        assert {row["cluster"] for row in read(tmp_path / "own.csv")} <= {"0", "1"}
        pyrogen("train", "gaussian", "--out", "other", *SMALL)
        assert "needs a model that clusters" in pyrogen("sample", "other", "--per-cluster")[1]
        assert "no clusters of its own" in pyrogen("cluster", "other", "--method", "model", "--out", "own.csv")[1]

    def test_completions_repeat_the_side_information(self, pyrogen, tmp_path):
        """There are fewer test images than samples."""
        pyrogen("train", "cvae", "--out", "run", *SMALL, *flags("cvae"), "--set", "condition=quadrants")
        n = len(load("digits").test) + 5
        assert pyrogen("sample", "run", "--n", n, "--out", "new.npy")[0] == 0
        array = np.load(tmp_path / "new.npy")
        assert len(array) == n
        known = array[:5, :, 4:, :4]
        assert np.array_equal(known, array[-5:, :, 4:, :4])

    def test_pictures_are_draws_and_means_on_demand(self, pyrogen, tmp_path):
        """The picture of a VAE is what measures judge: its pixels are on grey levels, as samples are."""
        pyrogen("train", "vae", "--out", "run", *SMALL, *flags("vae"))
        assert pyrogen("sample", "run", "--n", 4, "--out", "draws.npy")[0] == 0
        assert pyrogen("sample", "run", "--n", 4, "--out", "draws.png")[0] == 0
        assert pyrogen("sample", "run", "--n", 4, "--means", "--out", "means.png")[0] == 0
        drawn = torch.from_numpy(np.load(tmp_path / "draws.npy")).float()
        assert (tmp_path / "draws.png").read_bytes() == grid_png(drawn)
        assert (tmp_path / "means.png").read_bytes() != grid_png(drawn)
        assert "--means needs a picture" in pyrogen("sample", "run", "--means", "--out", "x.npy")[1]
        pyrogen("train", "gan", "--out", "other", *SMALL, *flags("gan"))
        assert "GAN has no mean" in pyrogen("sample", "other", "--means", "--out", "x.png")[1]


class TestRequests:
    @pytest.mark.parametrize("out", ["new.jpg", "new", "new.csv.gz"])
    def test_another_suffix(self, pyrogen, tmp_path, out):
        status, err = pyrogen("sample", "run", "--out", out)
        assert (status, err.count("\n")) == (2, 1)
        assert ".png, .npy, .csv, .parquet or" in err
        assert list(tmp_path.iterdir()) == []

    def test_tables_are_no_images(self, pyrogen, tmp_path):
        np.save(tmp_path / "x.npy", DRAWS.standard_normal((300, 3)))
        pyrogen("train", "gaussian", "--data", tmp_path / "x.npy", "--out", "run", *SMALL)
        assert "rows of a table" in pyrogen("sample", "run", "--out", "new/")[1]
        assert "class-conditional" in pyrogen("sample", "run", "--per-class")[1]
        assert pyrogen("sample", "run")[0] == 0
        with Image.open(tmp_path / "run" / "samples.png") as picture:
            assert picture.size[0] == 1400
        assert pyrogen("sample", "run", "--n", 4, "--out", "NEW.CSV")[0] == 0
        assert list(read(tmp_path / "NEW.CSV")[0]) == ["0", "1", "2"]

    def test_forms(self, tmp_path):
        assert output_form("x/y/") == output_form(str(tmp_path)) == "folder"
        assert output_form("a.b/x.PNG") == ".png"

    def test_names_win_over_numbers(self):
        assert class_number("1", ("2", "1", "0")) == 1
        assert class_number("2", ("a", "b", "c")) == 2
        for label in ("3", "-1", "1.0", "²"):
            with pytest.raises(ConfigError, match="unknown class"):
                class_number(label, ("a", "b", "c"))

    def test_folder_names(self):
        assert [folder_name(name) for name in ("a/b", "..", "", "x y", "é", "a:b")] == [
            "a_b", "_..", "_", "x y", "é", "a_b"
        ]  # fmt: skip


class TestWholeFolder:
    def test_nothing_is_left_after_an_error(self, tmp_path):
        def interrupted(error):
            with whole_folder(tmp_path / "new") as part:
                (part / "a").write_text("half")
                raise error

        for error in (KeyboardInterrupt, ValueError):
            with pytest.raises(error):
                interrupted(error)
        with pytest.raises(RunError, match="cannot write"), whole_folder(tmp_path / "new") as part:
            (part / "a" / "b").write_text("half")
        with pytest.raises(RunError, match="cannot write"), whole_folder(tmp_path / "absent" / "new"):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_not_replaced(self, tmp_path):
        (tmp_path / "new").write_text("mine")
        with pytest.raises(RunError, match="not an empty folder"), whole_folder(tmp_path / "new"):
            pass
        assert (tmp_path / "new").read_text() == "mine"
