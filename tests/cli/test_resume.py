"""``pyrogen resume`` and ``train --from`` in processes: what they take up, and what they say where they cannot."""

import shutil
import tomllib

import numpy as np
import pytest
from forked import pyrogen, run
from safetensors.torch import load_file

from pyrogen.training.checkpoint import newest

SMALL = ("--set", "hidden=8", "--set", "latent=2", "--batch-size", "16")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a table and a run of it that was begun there by its relative path."""
    folder = tmp_path_factory.mktemp("trained")
    x = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    np.savetxt(folder / "table.csv", x, delimiter=",", header="a,b,c", comments="")
    arguments = ("train", "vae", "--data", "table.csv", "--out", "runs/a", "--steps", "6", *SMALL)
    done = run(pyrogen, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def settings(path):
    return tomllib.loads((path / "config.toml").read_text())


def test_a_moved_run_goes_on_longer_from_another_folder(trained, tmp_path):
    shutil.copytree(trained / "runs" / "a", tmp_path / "deep" / "b")
    done = run(pyrogen, "resume", "b", "--steps", "9", folder=tmp_path / "deep")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    again = settings(tmp_path / "deep" / "b")
    assert (again["options"]["steps"], again["data"]) == (9, str(trained / "table.csv"))
    assert newest(tmp_path / "deep" / "b").name == "checkpoint-00000009"
    done = run(pyrogen, "resume", "b", "--steps", "7", folder=tmp_path / "deep")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "pyrogen: b has done 9 steps: expected at least as many, got 7"
    assert settings(tmp_path / "deep" / "b") == again


def test_moved_data_are_named_and_changed_data_refused(trained, tmp_path):
    shutil.copytree(trained / "runs" / "a", tmp_path / "b")
    lines = (trained / "table.csv").read_text().splitlines(keepends=True)
    (tmp_path / "moved.csv").write_text("".join(lines))
    (tmp_path / "other.csv").write_text("".join(lines[:-1]))
    done = run(pyrogen, "resume", "b", "--data", "other.csv", "--steps", "7", folder=tmp_path)
    assert done.returncode == 2
    assert "other.csv has changed since b was begun: 48+6+6 rows of 3" in done.stderr
    assert settings(tmp_path / "b") == settings(trained / "runs" / "a")  # nothing is written before it is accepted
    done = run(pyrogen, "resume", "b", "--data", "moved.csv", "--steps", "7", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert settings(tmp_path / "b")["data"] == str(tmp_path / "moved.csv")
    done = run(pyrogen, "resume", "b", "--data", "other.csv", "--changed-data", "--steps", "8", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(pyrogen, "resume", "b", "--data", "nothing.csv", folder=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "pyrogen: nothing.csv: no such file or folder")


def test_a_run_from_the_weights_of_another(trained, tmp_path):
    source, data = str(trained / "runs" / "a"), ("--data", str(trained / "table.csv"))
    done = run(pyrogen, "train", "vae", *data, *SMALL, "--from", source, "--out", "c", "--steps", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    kept, moved = (load_file(newest(path) / "weights.safetensors") for path in (trained / "runs" / "a", tmp_path / "c"))
    names = [name for name, value in kept.items() if name.startswith("kept.") and value.numel() > 1]
    assert names
    assert all((kept[name] - moved[name]).abs().max() < 0.01 for name in names)  # one step away
    refused = {
        ("--set", "latent=1"): "do not fit this model",
        ("--from", "nowhere"): "nowhere is not a run folder: config.toml is missing",
    }
    for changes, expected in refused.items():
        arguments = ("train", "vae", *data, *SMALL, "--from", source, "--out", "d", *changes)
        done = run(pyrogen, *arguments, folder=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert expected in done.stderr
        assert not (tmp_path / "d").exists()
