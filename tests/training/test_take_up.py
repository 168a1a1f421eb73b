"""What a run must find again: data, libraries and machine. What may change: the number of steps, the place."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pyrogen
from pyrogen.comparison import prepare, run_comparison
from pyrogen.data import memmap
from pyrogen.errors import DataError, DataWarning, RunError, RunWarning
from pyrogen.files import seal_json, unseal_json
from pyrogen.training import build, configure, train, trainer
from pyrogen.training.checkpoint import newest
from pyrogen.training.run import Run

OPTIONS = {"steps": 8, "batch_size": 16, "hidden": (8,), "latent": 2}


class Stopped(Exception):
    """A run is cut off."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They would take most of the time here."""
    monkeypatch.setattr(trainer, "PICTURES", 1)
    monkeypatch.setattr(trainer, "CURVES", 1)


def begin(path, data, at=None, model="vae", **settings):
    """A new run, cut off at step ``at`` if that is given."""
    options = OPTIONS | settings.pop("options", {})
    run = Run.create(path, configure(model, str(data), options=options, **settings))
    return run if at is None else cut(run, at)


def cut(run, at, **how):
    def watch(row):
        if row["t"] == at:
            raise Stopped

    with pytest.raises(Stopped):
        train(run, watch, **how)
    return Run.open(run.path)


def weights(path):
    return load_file(newest(path) / "weights.safetensors")


def assert_same(one, other):
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def table(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    np.savetxt(tmp_path / "table.csv", x, delimiter=",", header="a,b,c", comments="")
    return tmp_path / "table.csv"


def edit(path, change):
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")


# The data


def test_an_edited_table_or_a_row_less_is_refused_unless_it_is_said(table, tmp_path):
    run = begin(tmp_path / "run", table, at=4)
    whole = table.read_text()
    edit(table, lambda lines: lines.pop(20))
    with pytest.raises(DataError, match=r"table.csv has changed .*48\+6\+6 rows of 3 .* then, 49.*--changed-data"):
        train(run)
    table.write_text(whole)
    edit(table, lambda lines: lines.__setitem__(20, "0.5,0.25,1.5"))
    with pytest.raises(DataError, match=r"has changed since .*run was begun: 48\+6\+6 rows of 3 as then, but other"):
        train(run)
    opened = pyrogen.open(run.path)
    with pytest.raises(DataError, match=r"table.csv has changed since .*run was trained on it: .*other contents"):
        _ = opened.data
    (run.path / "data.json").rename(tmp_path / "data.json")  # as in version 0.1, whose models are rebuilt from data
    with pytest.warns(DataWarning, match=r"table.csv has changed since .*run was trained: .*other contents"):
        _ = pyrogen.open(run.path).model
    (tmp_path / "data.json").rename(run.path / "data.json")
    table.write_text(whole)
    table.rename(tmp_path / "again.csv")
    (tmp_path / "again.csv").rename(table)  # the contents count, and not the time of the file
    train(cut(run, 6))
    edit(table, lambda lines: lines.pop(20))
    assert train(Run.open(run.path), changed_data=True).t == 8
    train(Run.open(run.path))  # these are now its data


def test_rows_of_earlier_data_are_not_taken_for_unseen_ones(table, tmp_path):
    run = begin(tmp_path / "run", table, at=4)
    edit(table, lambda lines: lines.pop(20))  # another number of rows is another split
    trained = train(run, changed_data=True)
    with pytest.raises(DataError, match="trained on"):
        pyrogen.evaluate(trained.model, trained.data)


def test_a_run_of_version_0_1_has_the_digits_of_the_contents_alone(table, tmp_path):
    run = begin(tmp_path / "run", table, at=4)
    run.update(run.config.model_copy(update={"fingerprint": run.config.fingerprint.split(", ")[1]}))
    run = cut(Run.open(run.path), 6)
    assert run.config.fingerprint.startswith("48+6+6 rows of 3, ")
    run.update(run.config.model_copy(update={"fingerprint": "0123456789abcdef"}))
    with pytest.raises(DataError, match="as then, but other contents"):
        train(Run.open(run.path))


def pictures(folder):
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (20, 4, 4), dtype=np.uint8)):
            Image.fromarray(pixels).save(folder / label / f"{i}.bmp")
    return folder


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.bmp")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("disk", [False, True])
def test_a_folder_with_a_picture_more_or_one_edited_is_refused(disk, tmp_path, monkeypatch):
    if disk:
        monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    folder = pictures(tmp_path / "pictures")
    options = {"network": "mlp"}
    run = begin(tmp_path / "run", folder, at=4, options=options)
    packed = begin(tmp_path / "packed", zipped(folder), at=4, options=options)
    os.utime(folder / "a" / "7.bmp", (10**9, 10**9))  # touched
    zipped(folder)
    if disk:
        with pytest.raises(DataError, match=r"32\+4\+4 rows of 1x4x4 as then, but other names, sizes or times of"):
            train(run)
    else:
        run = cut(run, 6)
    train(packed)  # a zip file knows the contents
    (folder / "a" / "7.bmp").write_bytes((folder / "b" / "8.bmp").read_bytes())  # of the same size
    with pytest.raises(DataError, match=r"32\+4\+4 rows of 1x4x4 as then, but other"):
        train(run)
    zipped(folder)
    with pytest.raises(DataError, match=r"32\+4\+4 rows of 1x4x4 as then, but other"):
        train(packed)
    shutil.copy(folder / "a" / "7.bmp", folder / "a" / "20.bmp")
    with pytest.raises(DataError, match=r"32\+4\+4 rows of 1x4x4 .* then, 33\+4\+4 rows of 1x4x4 now"):
        train(run)


def test_a_memory_map_that_was_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memmap, "DISK_THRESHOLD", 0)
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    os.utime(tmp_path / "x.npy", (10**9, 10**9))
    run = begin(tmp_path / "run", tmp_path / "x.npy", at=4)
    shutil.move(tmp_path / "x.npy", tmp_path / "y.npy")
    run.update(run.config.model_copy(update={"data": str(tmp_path / "y.npy")}))
    run = cut(run, 6)
    x[30] += 1
    np.save(tmp_path / "y.npy", x)
    with pytest.raises(DataError, match=r"48\+6\+6 rows of 3 as then, but other names, sizes or times of their files"):
        train(run)


# The place


def test_a_run_goes_on_from_another_folder_and_after_a_move(table, tmp_path, monkeypatch):
    whole = begin(tmp_path / "whole", table)
    train(whole)
    monkeypatch.chdir(tmp_path)
    begin("runs/a", "table.csv", at=4)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "runs" / "a", tmp_path / "elsewhere" / "b")
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(Run.open("b"))
    assert_same(whole.path, "b")


def test_a_comparison_of_data_in_memory_is_whole_in_its_folder(tmp_path, monkeypatch):
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    monkeypatch.chdir(tmp_path)
    settings = {"steps": 8, "batch_size": 16, "features": ("values",)}
    run = prepare(["realnvp"], x, out="first", **settings)

    def show(title, steps):
        raise Stopped

    with pytest.raises(Stopped):
        run_comparison(run, show=show)
    (tmp_path / "deep").mkdir()
    shutil.move(tmp_path / "first", tmp_path / "deep" / "second")
    monkeypatch.chdir(tmp_path / "deep" / "second")
    card = run_comparison(Run.open(".", type(run.config)))
    monkeypatch.chdir(tmp_path)
    assert (Path("deep/second/realnvp/config.toml").read_text().count("../data.npz"), card["folder"]) == (1, ".")
    untouched = run_comparison(prepare(["realnvp"], x, out="third", **settings))
    assert card["models"]["realnvp"]["scores"] == untouched["models"]["realnvp"]["scores"]
    shutil.move("deep/second", "fourth")
    assert len(pyrogen.open("fourth/realnvp").data.train) == 48
    np.savez("fourth/data.npz", x=x.numpy() + 1)
    with pytest.raises(DataError, match=r"fourth/data.npz has changed since fourth was begun.*other contents"):
        run_comparison(Run.open("fourth", type(run.config)))
    again = run_comparison(Run.open("fourth", type(run.config)), changed_data=True)
    assert again["split"] == untouched["split"]


# The machine


def test_another_machine_or_library_is_said_in_one_line(table, tmp_path):
    run = begin(tmp_path / "run", table, at=2)
    path = run.path / "environment.json"
    began = unseal_json(path.read_bytes())
    assert began.keys() == {"pyrogen numerics", "torch", "Pyro", "CPU capability", "threads", "device"}
    path.write_text(seal_json(began | {"torch": "2.13.0", "threads": 64}))
    now = f"torch {torch.__version__}, threads {torch.get_num_threads()}"
    with pytest.warns(RunWarning) as said:
        cut(run, 4)
    assert [str(one.message) for one in said] == [
        f"the run began with torch 2.13.0, threads 64 and goes on with {now}: it is not bit-identical to an "
        "uninterrupted one"
    ]
    path.write_text(seal_json({name: value for name, value in began.items() if "numerics" not in name}))
    with pytest.warns(RunWarning, match=r"^the run began with pyrogen numerics 1 and goes on with pyrogen numerics 2:"):
        cut(run, 5)
    path.write_text(path.read_text().replace("cpu", "CPU"))
    with pytest.warns(RunWarning, match=r"environment.json is damaged"):
        cut(run, 6)
    path.unlink()  # as in version 0.1
    train(run)


# More steps, and weights of another run


def test_a_run_goes_on_longer(table, tmp_path):
    run = begin(tmp_path / "run", table)
    train(run)
    with pytest.raises(RunError, match="has done 8 steps: expected at least as many, got 5"):
        train(run, steps=5)
    assert Run.open(run.path).config.options["steps"] == 8
    cut(run, 10, steps=12)
    run = Run.open(run.path)
    assert run.config.options["steps"] == 12
    assert train(run).t == 12
    assert [row["t"] for row in run.metrics()] == list(range(1, 13))


def test_more_steps_follow_the_schedule_of_their_number(table, tmp_path):
    run = begin(tmp_path / "run", table)
    train(run)
    rates = []
    longer = build(run.config.with_steps(100))
    train(run, lambda row: rates.append(longer.step.schedule.get_last_lr()[0]), longer, steps=100)
    fresh = build(run.config.with_steps(100))
    train(begin(tmp_path / "fresh", table, options={"steps": 100}), setup=fresh)
    assert len(rates) == 92
    assert rates[1] > 0.5 * max(rates) > 100 * rates[-1]


def test_a_run_that_starts_from_the_weights_of_another(table, tmp_path, monkeypatch):
    source = begin(tmp_path / "source", table)
    kept = train(source).model.state_dict()
    monkeypatch.chdir(tmp_path)
    whole = begin("whole", table, seed=1, weights_from="source")
    setup = build(whole.config)
    cut(whole, 1, setup=setup)
    first = pyrogen.restore("whole", model=setup.model)
    assert first == 0
    assert all(torch.equal(kept[name], value) for name, value in setup.model.state_dict().items())
    shutil.rmtree("source")  # the new run does not need it any more
    train(whole)
    monkeypatch.chdir("/")
    with pytest.raises(RunError, match=r"source is not a run folder"):
        train(begin(tmp_path / "late", table, weights_from=whole.config.weights_from))


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_weights_of_another_architecture_are_refused_in_one_sentence(model, table, tmp_path):
    source = begin(tmp_path / "source", table, model=model)
    train(source)
    train(begin(tmp_path / "same", table, model=model, seed=3, weights_from=str(source.path)))
    run = begin(tmp_path / "run", table, model=model, weights_from=str(source.path), options={"hidden": (9,)})
    with pytest.raises(
        RunError, match=r"the weights of .*source do not fit this model: \S+ is \(.*\) there, and \("
    ) as e:
        train(run)
    assert "\n" not in str(e.value)
