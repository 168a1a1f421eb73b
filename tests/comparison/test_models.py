"""Models of a comparison as they are written: recipes with settings, and run folders."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import pyrogen
from pyrogen.comparison.config import ComparisonConfig, prepare
from pyrogen.comparison.models import read_specs
from pyrogen.comparison.scores_file import COLUMNS, scores_csv
from pyrogen.errors import ConfigError, DataError, RunError
from pyrogen.recipes import recipe
from pyrogen.training.run import Run

pytestmark = pytest.mark.usefixtures("quick_measures")

SMALL = {"batch_size": 16, "features": ("values",)}
VAE = "vae:latent=2:hidden=8,4"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(file, np.random.default_rng(0).normal(size=(200, 2)))
    return file


@pytest.fixture(scope="module")
def first(table, tmp_path_factory):
    """A comparison of two recipes."""
    with pytest.MonkeyPatch.context() as patch:
        __import__("quick").measures(patch.setattr)
        folder = tmp_path_factory.mktemp("first") / "c"
        return pyrogen.compare([VAE, "gaussian:lr=0.1"], table, out=folder, steps=5, seed=3, **SMALL)


def folder_of(card, name):
    return f"{card['folder']}/{name}"


def test_settings_are_those_of_set(first, table):
    run = Run.open(folder_of(first, "vae-latent=2-hidden=8,4"))
    assert run.config.options == recipe("vae").bind({"latent": 2, "hidden": (8, 4), "steps": 5, "batch_size": 16})
    assert list(first["models"]) == [VAE, "gaussian:lr=0.1"]
    assert Run.open(folder_of(first, "gaussian-lr=0.1")).config.options["lr"] == 0.1
    assert first["models"][VAE]["steps"] == 5


def test_run_folders_are_evaluated_on_their_data_as_they_were_there(first, table, tmp_path, monkeypatch):
    names = ["vae-latent=2-hidden=8,4", "gaussian-lr=0.1"]
    monkeypatch.chdir(first["folder"])
    run = prepare([f"./{name}" for name in names], out=tmp_path / "c", features=("values",))
    assert (run.config.data, run.config.seed) == (str(table), 3)
    card = pyrogen.comparison.run_comparison(run)
    for name, given in zip(names, first["models"], strict=True):
        entry, before = card["models"][name], first["models"][given]
        assert entry.pop("run") == folder_of(first, name)
        assert entry.pop("sample_seconds")
        assert entry == {key: value for key, value in before.items() if key != "sample_seconds"}
    assert card["budget"] == {"seeds": [3]}
    assert not (tmp_path / "c" / names[0]).exists()  # nothing was trained
    page = (tmp_path / "c" / "report.html").read_text()
    assert f"run folder {folder_of(first, names[0])}" in page


def test_a_mix_of_all(first, table, tmp_path):
    mine = pyrogen.explicit.Gaussian.from_data(pyrogen.load(table, seed=3).train.tensors()[0], "full")
    run = f"{first['folder']}/gaussian-lr=0.1"
    models = [VAE, run, "gaussian"]
    card = pyrogen.compare(models, own={"mine": mine}, out=tmp_path / "c", steps=2, **SMALL)
    assert list(card["models"]) == ["mine", VAE, "gaussian-lr=0.1", "gaussian"]
    assert [card["models"][name].get("steps") for name in card["models"]] == [None, 2, 5, 2]
    assert card["budget"] == {"steps": 2, "batch_size": 16, "seeds": [3]}
    assert "Budget of each model trained here" in (tmp_path / "c" / "report.html").read_text()
    pairs = {tuple(entry["models"]) for entry in card["comparisons"]["mmd2"]}
    assert ("mine", "gaussian-lr=0.1") in pairs


def test_runs_of_other_data_are_refused(first, table, tmp_path):
    run, out = folder_of(first, "gaussian-lr=0.1"), tmp_path / "c"
    compare = partial(pyrogen.compare, [run, "gaussian"], out=out, steps=1, **SMALL)
    with pytest.raises(
        DataError, match=r"lr=0\.1 was trained on other data than .*x\.npy, or on another split \(its seed is 3"
    ):
        compare(table, seed=4)
    with pytest.raises(
        ConfigError, match=r"was trained on .*x\.npy, a density on R; this comparison is of digits, a density"
    ):
        compare("digits")
    with pytest.raises(ConfigError, match="is one run, of one seed: expected seeds=1 with run folders, got 2"):
        compare(seeds=2)
    with pytest.raises(RunError, match="holds 2 runs: open one of them"):
        pyrogen.compare([first["folder"]], out=out)
    Run.create(tmp_path / "new", Run.open(run).config)
    with pytest.raises(RunError, match=r"no valid checkpoint in .*new"):
        pyrogen.compare([tmp_path / "new"], table, out=out)
    with pytest.raises(ConfigError, match="own model 'gaussian' has the name of another model: rename it"):
        compare(own={"gaussian": pyrogen.explicit.Gaussian((2,))})
    assert not out.exists()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["vae:latent"], "a setting of 'vae:latent' must be KEY=VALUE; got 'latent'"),
        (["vae:latent=8:"], "must be KEY=VALUE; got ''"),
        (["vae:latnt=8"], "unknown option of vae 'latnt'; did you mean 'latent'"),
        (["vae:latent=0:hidden=x"], "latent must be greater than 0; got '0'; hidden.* must be a valid integer"),
        (["vea:latent=8"], "unknown model 'vea'; did you mean 'vae'"),
        (["vae:steps=9"], "'vae:steps=9': steps are the budget of all models"),
        (["nowhere"], "unknown model 'nowhere'"),
        (["runs/nowhere"], "runs/nowhere holds neither a run"),
    ],
)
def test_mistakes_are_one_sentence(models, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, RunError), match=message) as raised:
        prepare(models, out="c")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "c").exists()


def test_names_differ_and_those_of_folders_are_safe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/vae", "b/vae", "b/x y", "vae"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.toml").write_text("")
    long = "vae:hidden=" + ",".join(["64"] * 60)
    specs = read_specs(["vae", "a/vae", "b/vae", "a/vae", "b/x y", "./vae", "vae:lr=1e-3", long])
    names = [spec.name for spec in specs]
    assert names == ["vae", "a/vae", "b/vae", "x y", f"{tmp_path.name}/vae", "vae:lr=1e-3", long]
    folders = [spec.folder_name for spec in specs]
    assert folders[:4] == ["vae", "a-vae", "b-vae", "x-y"]
    assert folders[-2] == "vae-lr=1e-3"
    assert len(folders[-1]) == 109
    assert len({*folders}) == len(specs)
    assert ComparisonConfig.checked({"models": ["b/vae"]}).models == (str(tmp_path / "b" / "vae"),)


@pytest.mark.parametrize(
    ("budget", "steps"), [({}, 3000), ({"steps": 7}, 7), ({"examples": 100}, 7), ({"examples": 96}, 6)]
)
def test_budgets(budget, steps):
    config = ComparisonConfig.checked({"models": ["gaussian", "gaussian:batch_size=50"], "batch_size": 16, **budget})
    first, second = (config.run_config(spec, 0).options for spec in config.specs)
    assert (first["steps"], first["batch_size"]) == (steps, 16)
    assert (second["steps"], second["batch_size"]) == (2 if "examples" in budget else steps, 50)
    assert config.budget == (budget or {"steps": 3000})


def test_a_budget_of_seconds():
    config = ComparisonConfig.checked({"models": ["gan"], "seconds": 9})
    run = config.run_config(config.specs[0], 0)
    assert (run.seconds, run.options["steps"], run.compile) == (9.0, recipe("gan").bind({})["steps"], None)
    assert config.budget == {"seconds": 9.0}


@pytest.mark.parametrize("given", [{"steps": 3, "seconds": 2.0}, {"examples": 4, "steps": 3}])
def test_there_is_one_budget(given):
    expected = " and ".join(f"{name}={given[name]}" for name in ("steps", "seconds", "examples") if name in given)
    with pytest.raises(ConfigError, match=f"the budget is one of steps, seconds and examples; got {expected}"):
        ComparisonConfig.checked(given)


def test_each_model_is_trained_for_the_given_time(table, tmp_path):
    logged = []
    card = pyrogen.compare(["gaussian"], table, out=tmp_path / "c", seconds=0.05, seeds=2, log=logged.append, **SMALL)
    assert card["budget"] == {"seconds": 0.05, "batch_size": 16, "seeds": [0, 1]}
    entry = card["models"]["gaussian"]
    assert 0.04 < entry["train_seconds"] < 5  # the time of a step may be left
    steps = [Run.open(tmp_path / "c" / f"gaussian-seed{seed}").config.options["steps"] for seed in (0, 1)]
    assert entry["steps"] == (steps if len({*steps}) > 1 else steps[0])
    assert logged == [row for seed in (0, 1) for row in pyrogen.open(tmp_path / "c")[f"gaussian-seed{seed}"].metrics]
    page = (tmp_path / "c" / "report.html").read_text()
    assert "50 ms of training, batches of 16, seeds 0, 1" in page


def test_scores_as_a_table(first):
    with open(folder_of(first, "scores.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    entries = {**first["models"], **{name: entry | {"family": "anchor"} for name, entry in first["anchors"].items()}}
    expected = [(name, entry["family"], score) for name, entry in entries.items() for score in entry["scores"]]
    assert [(row["model"], row["family"], row["score"]) for row in rows] == expected
    for row in rows:
        score = entries[row["model"]]["scores"][row["score"]]
        if row["family"] != "anchor" or row["model"] == "train":
            assert (float(row["value"]), float(row["stderr"])) == (score["value"], score["stderr"])
            assert (row["kind"], row["unit"], row["seeds"]) == (score["kind"], score["unit"], "1")
            limits = [float(row[name]) for name in ("low", "high") if row[name]]
            assert limits == score.get("interval", [])
        assert row["steps"] == ("" if row["family"] == "anchor" else "5")
    assert json.loads(Path(folder_of(first, "scores.json")).read_text())["models"] == first["models"]


def test_a_model_that_failed_has_a_row():
    card = {
        "models": {"a, b": {"family": "implicit", "scores": {}, "error": "step 3: loss is nan"}},
        "anchors": {},
    }
    lines = scores_csv(card).decode().splitlines()
    assert lines[1] == '"a, b",implicit' + "," * 13 + "step 3: loss is nan"
