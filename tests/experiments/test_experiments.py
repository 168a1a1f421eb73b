"""An experiment as a whole: its results and page, what it refuses, and what it does after it was killed."""

import json
import re
import time

import forked
import pytest
import quick

import pyrogen
from pyrogen.errors import ConfigError, DataError, Diverged
from pyrogen.experiments import EXPERIMENTS, ExperimentConfig, prepare, run_experiment
from pyrogen.experiments.run import training_part
from pyrogen.training import train

TINY = {"steps": 3, "layers": 2, "hidden": 4, "batch_size": 32}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The results of ``lines`` on two seeds, and its folder."""
    out = tmp_path_factory.mktemp("experiments") / "lines"
    return pyrogen.experiment("lines", seeds=2, out=out, models="maf,gan", steps="2,6", batch_size=32), out


def again(out):
    """What continuing a finished experiment returns."""
    return run_experiment(pyrogen.training.Run.open(out, ExperimentConfig))


def test_every_model_is_trained_on_every_seed_and_scored(done):
    card, out = done
    assert card["folder"] == str(out)
    assert json.loads((out / "results.json").read_text()) == {k: v for k, v in card.items() if k != "folder"}
    assert list(card["arms"]) == ["maf-2", "maf-6", "gan-2", "gan-6"]
    for name, arm in card["arms"].items():
        score = arm["scores"]["w1"]
        values = card["by_seed"][name]["w1"]
        assert (score["value"], score["seeds"]) == (pytest.approx(sum(values) / 2), 2)
        assert values[0] != values[1]
        assert set(card["columns"]) - set(arm["scores"]) == ({"kl"} if "gan" in name else set())
        assert {path.name for path in out.glob(f"{name}-seed*")} == {f"{name}-seed0", f"{name}-seed1"}
    assert set(card["anchors"]) == {"truth"}
    assert [pair["models"] for pair in card["comparisons"]["w1"]] == [["maf-6", "gan-6"]]  # of the largest budgets


def test_its_runs_can_be_opened_by_name(done):
    _, out = done
    opened = pyrogen.open(out)["gan-6-seed1"]
    assert opened.t == 6
    assert opened.model.sample(2).shape == (2, 1)
    assert not (opened.path / "samples").exists()  # nothing is drawn


def test_the_page_says_what_it_shows_and_loads_nothing(done):
    card, out = done
    page = (out / "page.html").read_text()
    assert all(sentence in page for sentence in card["findings"])
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert page.count("<img") == 3
    assert "maf-6 − gan-6" in page


def test_a_finished_experiment_is_not_computed_again(done):
    card, out = done
    times = {path: path.stat().st_mtime_ns for path in out.glob("scored/*/*/manifest.json")}
    assert len(times) == 8
    assert again(out) == card
    assert {path: path.stat().st_mtime_ns for path in out.glob("scored/*/*/manifest.json")} == times


def test_a_damaged_entry_is_computed_again(done):
    card, out = done
    (kept,) = out.glob("scored/maf-2-seed0/checkpoint-*")
    state = kept / "state.json"
    state.write_bytes(state.read_bytes().replace(b"exact", b"exect", 1))
    assert again(out)["by_seed"] == card["by_seed"]
    assert b"exect" not in next(out.glob("scored/maf-2-seed0/checkpoint-*/state.json")).read_bytes()


def test_one_flow_by_three_losses_and_kernels(tmp_path, monkeypatch):
    quick.measures(monkeypatch.setattr)
    card = pyrogen.experiment("same-flow", seeds=1, out=tmp_path / "out", **TINY)
    assert list(card["arms"]) == ["likelihood", "adversarial", "both", "kernels"]
    flows = [arm["options"] for name, arm in card["arms"].items() if name != "kernels"]
    assert all(options["hidden"] == [4] and options["layers"] == 2 for options in flows)
    assert [options.get("weight") for options in flows] == [None, 0, 1]
    for arm in card["arms"].values():
        assert arm["scores"]["log_likelihood"]["kind"] == "exact"
        assert set(card["columns"]) <= set(arm["scores"])
    middle = card["arms"]["kernels"]["scores"]["median_log_likelihood"]["value"]
    assert abs(middle - card["arms"]["kernels"]["scores"]["log_likelihood"]["value"]) < 60
    assert set(card["anchors"]) == {"train"}
    assert card["comparisons"] == {}
    assert "no test: it needs several seeds" in card["findings"][0]
    assert (tmp_path / "out" / "page.html").read_text().count("<img") == 2


def test_a_killed_experiment_goes_on_with_the_model_it_was_at(tmp_path):
    settings = ("--seeds", "2", "--steps", "4,60", "--set", "models=maf,gan", "--set", "batch_size=16")
    done = forked.run(forked.pyrogen, "experiment", "lines", "--out", "whole", *settings, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    started = forked.Started(forked.pyrogen, "experiment", "lines", "--out", "cut", *settings, folder=tmp_path)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    while started.process.is_alive() and not [*cut.glob("gan-60-seed0/checkpoint-*")]:
        time.sleep(0.005)
    started.process.kill()
    assert started.ended().returncode == -9
    before = {path: path.stat().st_mtime_ns for path in cut.glob("scored/*/*/manifest.json")}
    assert 3 <= len(before) < 8
    done = forked.run(forked.pyrogen, "resume", "cut", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    cards = [json.loads((out / "results.json").read_text()) for out in (cut, whole)]
    assert cards[0]["by_seed"] == cards[1]["by_seed"]
    assert cards[0]["comparisons"] == cards[1]["comparisons"]
    assert "maf-60" in done.stdout
    done = forked.run(forked.pyrogen, "resume", "cut", "--steps", "9", folder=tmp_path)
    assert (done.returncode, "give no --steps" in done.stderr) == (2, True)


def test_without_a_name_the_command_lists_all(tmp_path):
    done = forked.run(forked.pyrogen, "experiment", folder=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in EXPERIMENTS)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("same-flaw", {}, "unknown experiment 'same-flaw'; did you mean 'same-flow'"),
        ("same-flow", {"layer": 3}, "unknown option of same-flow 'layer'; did you mean 'layers'"),
        ("same-flow", {"seeds": 0}, "seeds must be greater than 0; got 0"),
        ("same-flow", {"steps": "many"}, "steps must be a valid integer; got 'many'"),
        ("lines", {"data": "moons"}, "lines needs a mixture of known density, such as line, ring or grid; got 'moons'"),
        ("lines", {"models": "gann"}, "unknown model 'gann'; did you mean 'gan'"),
        ("lines", {"models": "realnvp"}, "coupling layers need data of at least 2 values; got 1"),
        ("lines", {"rows": 10**6}, "maf-100 needs 1,000,000 training data; 'line' has 100,000"),
        ("memory", {"sizes": (100, 5000)}, "sizes must be at most 1,167, the training data of 'digits'; got 5,000"),
        ("modes", {"data": "moons"}, "modes needs labelled images or a density of known modes, such as grid"),
    ],
)
def test_what_cannot_be_done_is_said_before_a_folder_is_made(name, settings, message, tmp_path):
    if "rows" in settings:
        settings = settings | {"models": "maf"}
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepare(name, out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_changed_data_are_refused(tmp_path):
    rows = "a,b\n" + "\n".join(f"{i % 7 + i / 10},{i % 11 - i / 13}" for i in range(60))
    (tmp_path / "table.csv").write_text(rows)
    run = prepare("same-flow", tmp_path / "table.csv", out=tmp_path / "out", seeds=1, **TINY)
    run.update(run.config.model_copy(update={"fingerprint": "60+0+0 rows of 2"}))
    with pytest.raises(DataError, match="has changed since"):
        run_experiment(run)


def test_parts_of_the_training_data_are_nested():
    data = pyrogen.load("digits")
    small, large = (training_part(data, rows, 3).train.row_keys for rows in (50, 200))
    assert set(small) < set(large)
    assert len(training_part(data, None, 3).train) == 1167
    assert set(small) != set(training_part(data, 50, 4).train.row_keys)


@pytest.mark.parametrize("failure", [Diverged, ConfigError])  # of training, and of scores that are not finite
def test_a_model_that_fails_is_named_with_its_reason(failure, tmp_path, monkeypatch):
    def fails(run, *args, **options):
        if run.path.name == "gan-60-seed1":
            raise failure("step 1: the loss is nan")
        return train(run, *args, **options)

    monkeypatch.setattr("pyrogen.experiments.run.train", fails)
    card = pyrogen.experiment(
        "modes", "line", models="gan,kde", sizes=60, steps=2, seeds=2, out=tmp_path / "out", batch_size=16
    )
    assert card["arms"]["gan-60"]["error"] == "step 1: the loss is nan"
    assert "Did not finish: step 1: the loss is nan" in (tmp_path / "out" / "page.html").read_text()
    assert [sentence.split(":")[0] for sentence in card["findings"]] == ["kde"]
    assert card["comparisons"] == {}  # sizes and families are not tested in pairs
