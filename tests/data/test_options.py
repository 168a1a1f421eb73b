"""Options of reading on the command line and in ``config.toml``, warnings there, and data in memory in comparisons."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import caller

import pyrogen
from pyrogen.comparison.compare import run_comparison
from pyrogen.comparison.config import ComparisonConfig, prepare
from pyrogen.errors import ConfigError, DataError, RunError
from pyrogen.measure.evaluate import evaluate_run
from pyrogen.training.config import RunConfig
from pyrogen.training.run import Run

pytestmark = pytest.mark.usefixtures("quick_measures")

DRAWS = np.random.default_rng(0)
TABLE = {
    "a": DRAWS.normal(size=60).round(5),
    "b": DRAWS.normal(size=60).round(5),
    "kind": DRAWS.integers(1, 4, 60),
    "one": np.ones(60),
    "label": np.array(["x", "y", "z"] * 20),
}
SMALL = ("--steps", "3", "--batch-size", "16")
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Call the command line in this process: ``(status, stderr)``."""
    run = caller(monkeypatch, capsys, tmp_path)
    return lambda *arguments: run(*arguments)[::2]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow")
    lines = [",".join(TABLE), *(",".join(map(str, row)) for row in zip(*TABLE.values(), strict=True)), "1.5,,1,1,x"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return tmp_path / "t.csv"


OPTIONS = ("--target", "label", "--categorical", "kind", "--drop-constant", "--drop-missing")
FIELDS = {"target": "label", "categorical": ["kind"], "drop_constant": True, "drop_missing": True}


def test_options_are_those_of_the_run(call: Call, table: Path, tmp_path: Path) -> None:
    assert call("train", "gaussian", "--data", table, "--out", "run", *SMALL, *OPTIONS)[0] == 0
    stored = tomllib.loads((tmp_path / "run/config.toml").read_text())
    assert {name: stored[name] for name in FIELDS} == FIELDS
    trained = pyrogen.open(tmp_path / "run")
    assert [c.name for c in trained.data.space.columns] == ["a", "b", "kind"]
    assert trained.data.shape == (5,)
    assert trained.data.classes == ("x", "y", "z")
    for command in ("resume", "sample", "evaluate"):
        assert call(command, "run")[0] == 0
    assert call("train", "--config", "run/config.toml", "--out", "again", "--target", "kind", *SMALL)[0] == 0
    assert pyrogen.open(tmp_path / "again").data.classes == ("1", "2", "3")


def test_options_of_a_comparison(call: Call, table: Path, tmp_path: Path) -> None:
    assert call("compare", "gaussian", "--data", table, "--out", "c", *SMALL, *OPTIONS)[0] == 0
    assert Run.open(tmp_path / "c/gaussian").config.read_options == {
        **FIELDS,
        "categorical": ("kind",),
        "size": None,
    }


def test_options_that_are_not_used_are_left_out_of_the_file() -> None:
    config = RunConfig.checked({"model": "vae"})
    assert not set(tomllib.loads(config.to_toml())) & {*FIELDS, "size"}
    assert config.read_options == {
        "target": None,
        "categorical": (),
        "drop_constant": False,
        "drop_missing": False,
        "size": None,
    }


def test_options_of_named_data_are_refused(call: Call) -> None:
    status, error = call("train", "vae", "--data", "digits", "--size", 8)
    assert (status, error.count("\n")) == (2, 1)
    assert "size is an option of your own data; 'digits' is a data set of the catalogue" in error


def test_a_warning_is_one_line_on_standard_error(call: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "deep.npy", DRAWS.integers(0, 4096, (40, 4, 4)).astype(np.uint16))
    status, error = call("compare", "gaussian", "vae", "--data", "deep.npy", "--out", "c", *SMALL)
    assert status == 0
    lines = [line for line in error.splitlines() if "12-bit" in line]
    assert len(lines) == 1
    assert lines[0].startswith("pyrogen: warning: ")
    assert "deep.npy: the greatest value is 40" in lines[0]
    assert ".py" not in error


def sources() -> dict[str, Any]:
    x, y = DRAWS.random((60, 1, 4, 4), dtype=np.float32), np.arange(60) % 3 + 1
    return {
        "array": x,
        "tensors": (torch.from_numpy(x), torch.from_numpy(y)),
        "texts": (x, np.array(list("abc"), object)[y - 1]),
        "torch": torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)),
        "bool": x > 0.5,
    }


@pytest.mark.parametrize("kind", ["array", "tensors", "texts", "torch", "bool", "frame"])
def test_a_comparison_stores_data_in_memory(kind: str, tmp_path: Path) -> None:
    options = {}
    if kind == "frame":
        source: Any = pytest.importorskip("pandas").DataFrame(TABLE)
        options = {"target": "label", "categorical": ["kind"], "drop_constant": True}
    else:
        source = sources()[kind]
    direct = pyrogen.load(source, **options)
    card = pyrogen.compare(
        ["gaussian"] if kind != "bool" else ["vae"], source, out=tmp_path / "c", steps=2, batch_size=16, **options
    )  # type: ignore[arg-type]
    file = tmp_path / "c" / ("data.parquet" if kind == "frame" else "data.npz")
    assert file.exists()
    run = Run.open(tmp_path / "c", ComparisonConfig)
    assert run.config.data == card["data"] == str(file)
    trained = pyrogen.open(tmp_path / "c")[run.config.models[0]]
    assert (trained.data.space, trained.data.classes) == (direct.space, direct.classes)
    for ours, theirs in zip(trained.data.test.tensors(), direct.test.tensors(), strict=True):
        assert torch.equal(ours, theirs)
    again = run_comparison(run)
    name = run.config.models[0]
    assert again["models"][name]["scores"] == card["models"][name]["scores"]
    assert evaluate_run(pyrogen.open(tmp_path / "c")[name])["n"] == 6


def test_a_comparison_that_was_stopped_while_it_was_made(tmp_path: Path) -> None:
    source, out = DRAWS.random((60, 2)), tmp_path / "c"
    for steps in (2, 3):
        run = prepare(["gaussian"], source, out=out, steps=steps, batch_size=16)
        file = out / "data.npz"
        assert (run.config.steps, file.exists()) == (steps, True)
        file.unlink()  # as if the process had died before it was written
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="already holds a run"):
        prepare(["gaussian"], source, out=out)
    (out / "notes.txt").unlink()
    run = prepare(["gaussian"], source, out=out, steps=2, batch_size=16)
    (out / "gaussian").mkdir()  # without a configuration
    assert "scores" in run_comparison(run)["models"]["gaussian"]


def test_nothing_is_stored_if_data_or_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is constant"):
        pyrogen.compare(["gaussian"], np.ones((30, 2)), out=tmp_path / "c")
    with pytest.raises(ConfigError, match="unknown model"):
        pyrogen.compare(["gausian"], DRAWS.random((30, 2)), out=tmp_path / "c")
    with pytest.raises(DataError, match="expected a tensor or an array, got a dict"):
        pyrogen.compare(["gaussian"], {"a": 1}, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_other_data_are_evaluated_in_the_space_of_the_run(call: Call, table: Path, tmp_path: Path) -> None:
    assert call("train", "gaussian", "--data", table, "--out", "run", *SMALL, *OPTIONS)[0] == 0
    lines = table.read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join([lines[0], *lines[11:51]]))
    status, error = call("evaluate", "run", "--data", "other.csv")
    assert status == 2
    assert "the model was trained on 4 of the 4 test rows of 'other.csv'" in error
    new = [f"{float(a) + 1:.5f},{rest}" for a, _, rest in (line.partition(",") for line in lines[11:51])]
    (tmp_path / "other.csv").write_text("\n".join([lines[0], *new]))
    assert call("evaluate", "run", "--data", "other.csv")[0] == 0
    (tmp_path / "other.csv").write_text("\n".join([lines[0].replace("b", "w", 1), *new]))
    status, error = call("evaluate", "run", "--data", "other.csv")
    assert status == 2
    assert "expected a column 'b', as in the training data" in error
