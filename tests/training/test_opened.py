"""Folders of results opened: with their data, and without them."""

import json
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from recipe_cases import by_label, small

import pyrogen
from pyrogen.data import Dataset
from pyrogen.errors import ConfigError, DataError, RunError
from pyrogen.files import seal_json, unseal_json
from pyrogen.measure.evaluate import evaluate_run
from pyrogen.measure.samples import draw_samples
from pyrogen.protocols import Sampler
from pyrogen.recipes import RECIPES, recipe
from pyrogen.training import Run, configure, open_or_train, train
from pyrogen.training.monitoring.metric_averager import MetricAverager

N = 120
COLOURS = np.array(["red", "green", "blue"])


def images(seed: int, file: Path) -> Path:
    """8 × 8 images in three classes."""
    draws, y = np.random.default_rng(seed), np.arange(N) % 3
    bars = np.arange(8) % (y[:, None, None] + 2) == 0
    np.savez(file, x=(draws.integers(0, 17, (N, 8, 8)) * bars).astype(np.uint8), y=y)
    return file


def points(seed: int, file: Path) -> Path:
    """Pairs of real numbers."""
    np.save(file, np.random.default_rng(seed).normal(3, 0.1, (N, 2)))
    return file


def table(seed: int, file: Path, order: tuple[str, ...] = ("income", "age", "colour", "buys"), **more: str) -> Path:
    """Rows of a real, an integer and a categorical column, with labels."""
    draws, lines = np.random.default_rng(seed), [",".join((*order, *more))]
    for _ in range(N):
        row = {
            "income": repr(float(draws.lognormal())),
            "age": str(draws.integers(18, 90)),
            "colour": str(draws.choice(COLOURS)),
            "buys": str(draws.choice(["no", "yes"])),
        } | more
        lines.append(",".join(row[name] for name in (*order, *more)))
    file.write_text("\n".join(lines))
    return file


def trained(folder: Path, name: str, data: Path, **options):
    """A run after a few steps, and the model as it left it in memory."""
    steps = {} if RECIPES[name].schema.model_fields["steps"].default == 1 else {"steps": 3}
    target = "buys" if data.suffix == ".csv" else None
    options = {**small(name), "batch_size": 16, **steps, **options}
    run = Run.create(folder, configure(name, str(data), target=target, options=options, compile=False))
    return run, train(run)


def assert_needs_no_data(run, done, data: Path, other: Path) -> None:
    """Without its data, a run gives the weights and samples that its model had in memory, bit for bit, and scores."""
    data.unlink()
    opened = pyrogen.open(run.path)
    ours, theirs = (
        dict(model.named_buffers()) | dict(model.named_parameters()) for model in (opened.model, done.model)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    if isinstance(done.model, Sampler):
        before, after = (draw_samples(m, opened.without_rows, 8, 0) for m in (done.model, opened.model))
        assert before.isfinite().all()
        assert torch.equal(before, after)
    result = evaluate_run(opened, str(other))
    assert result["n"] == N // 10
    assert all(np.isfinite(score["value"]) for score in result["scores"].values())
    with pytest.raises(DataError, match=r"cannot be loaded: .*no such file or folder; other data can take their place"):
        evaluate_run(opened)


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_needs_no_data(name, tmp_path):
    make, suffix = (points, "npy") if RECIPES[name].example == "ring" else (images, "npz")
    data, other = make(0, tmp_path / f"data.{suffix}"), make(1, tmp_path / f"other.{suffix}")
    run, done = trained(tmp_path / "run", name, data, **(by_label(name) or {}))
    assert_needs_no_data(run, done, data, other)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {"prior": "vamp", "components": 500}),  # more than there are rows
        ("gaussian", {}),  # full, as there are enough rows
        ("mixture", {}),
        ("ppca", {"fit": "svi"}),
        ("histogram", {"bins": 3}),
        ("maf", {"condition": "label"}),
    ],
)
def test_a_model_of_a_table_needs_no_data(name, options, tmp_path):
    pytest.importorskip("pyarrow")
    data, other = table(0, tmp_path / "data.csv"), table(1, tmp_path / "other.csv")
    run, done = trained(tmp_path / "run", name, data, **options)
    assert_needs_no_data(run, done, data, other)
    if name in ("gaussian", "mixture"):
        assert pyrogen.open(run.path).model.covariance == "full"


def test_part_of_an_image_is_completed_with_other_data_and_refused_without(tmp_path):
    data, copy = images(0, tmp_path / "data.npz"), images(0, tmp_path / "copy.npz")
    run, done = trained(tmp_path / "run", "cvae", data, condition="quadrants")
    data.unlink()
    opened = pyrogen.open(run.path)
    with pytest.raises(DataError, match=r"the rows of .*data.npz' are needed here"):
        draw_samples(opened.model, opened.without_rows, 8, 0)
    samples = draw_samples(opened.model, opened.load(str(copy)), 8, 0)
    assert torch.equal(samples, draw_samples(done.model, done.data, 8, 0))


@pytest.mark.parametrize("name", ["histogram", "gaussian"])
def test_what_a_recipe_chooses_by_rows_is_not_guessed(name):
    known = Dataset.without_rows(pyrogen.load("ring").description)
    with pytest.raises(DataError, match="the rows of 'ring' are needed here"):
        recipe(name)(known)


def test_other_data_are_read_as_those_of_the_training(tmp_path):
    pytest.importorskip("pyarrow")
    run, _ = trained(tmp_path / "run", "gaussian", table(0, tmp_path / "data.csv"))
    opened = pyrogen.open(run.path)
    ordered = evaluate_run(opened, str(table(1, tmp_path / "a.csv")))
    mixed = table(1, tmp_path / "b.csv", ("buys", "colour", "age", "income"), extra="7")
    assert evaluate_run(opened, str(mixed))["scores"] == ordered["scores"]
    for given, others, message in (
        ("red", "purple", "row 1?[0-9]+, column 'colour': expected one of blue, green, red; got 'purple'"),
        ("yes", "maybe", "expected the classes no, yes, as in the training data; got 'maybe'"),
        ("income", "loan", "expected a column 'income', as in the training data; got loan, age, colour, buys"),
    ):
        (tmp_path / "c.csv").write_text((tmp_path / "a.csv").read_text().replace(given, others))
        with pytest.raises(DataError, match=message):
            opened.load(str(tmp_path / "c.csv"))
    points(0, tmp_path / "pairs.npy")
    with pytest.raises(DataError, match="pairs"):
        opened.load(str(tmp_path / "pairs.npy"))


def test_data_that_have_changed_are_not_taken_for_those_of_the_training(tmp_path):
    run, _ = trained(tmp_path / "run", "gaussian", images(0, tmp_path / "data.npz"))
    assert pyrogen.open(run.path).data.description == pyrogen.open(run.path).description
    images(1, tmp_path / "data.npz")  # as many rows
    with pytest.raises(DataError, match=r"data.npz has changed since .*run was trained on it"):
        _ = pyrogen.open(run.path).data


def test_samples_in_another_process_without_the_data(tmp_path):
    data = images(0, tmp_path / "data.npz")
    run, done = trained(tmp_path / "run", "cgan", data)
    data.unlink()
    command = ("sample", run.path, "--per-class", "--n", 2, "--out", "new.npy")
    assert forked.run(forked.pyrogen, *command, folder=tmp_path).returncode == 0
    labels = torch.arange(3).repeat_interleave(2)
    samples = done.data.space.to_user(draw_samples(done.model, done.data, 6, 0, labels))
    assert np.array_equal(np.load(tmp_path / "new.npy"), samples.numpy())


class TestWhatIsOpened:
    def test_a_run(self, tmp_path):
        run, done = trained(tmp_path / "run", "vae", images(0, tmp_path / "data.npz"))
        opened = pyrogen.open(run.path)
        assert repr(opened) == f"<{run.path}: vae on {tmp_path}/data.npz, t = 3 of 3>"
        assert (opened.t, opened.config, opened.metrics) == (3, run.config, run.metrics())
        assert opened.weights == done.weights
        assert opened.space.levels == 256
        assert opened.description.classes == ("0", "1", "2")
        assert opened.description.label_counts == tuple(torch.bincount(done.data.train.y).tolist())
        assert opened.description.rows == (96, 12, 12)
        with pytest.raises(ConfigError, match="is a run and names its model itself: open it without model"):
            pyrogen.open(run.path, model=done.model)

    @pytest.mark.parametrize("name", ["vae", "wgan"])
    def test_a_run_goes_on_from_its_step(self, name, tmp_path):
        """To the weights of a run that was not interrupted."""

        class Stop(Exception):
            pass

        def stop(row):
            if row["t"] == 9:
                raise Stop

        data = images(0, tmp_path / "data.npz")
        whole, _ = trained(tmp_path / "whole", name, data, steps=12)
        run = Run.create(tmp_path / "run", whole.config)
        with pytest.raises(Stop):
            train(run, stop)
        opened = pyrogen.open(run.path)
        assert opened.t == 8
        for _ in pyrogen.fit(opened.step, opened.data.train, steps=12, batch_size=16, start=8):
            pass
        expected = pyrogen.open(whole.path).step.state_dict()["weights"]
        found = opened.step.state_dict()["weights"]
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)

    def test_a_run_without_checkpoints(self, tmp_path):
        opened = pyrogen.open(Run.create(tmp_path / "run", configure("vae")).path)
        assert "no checkpoint" in repr(opened)
        with pytest.raises(RunError, match="no valid checkpoint"):
            _ = opened.model

    def test_a_comparison(self, tmp_path):
        data = points(0, tmp_path / "data.npy")
        pyrogen.compare(["gaussian", "vae"], data, out=tmp_path / "c", steps=2, batch_size=16)
        data.unlink()
        opened = pyrogen.open(tmp_path / "c")
        assert opened.runs == ("gaussian", "vae")
        assert repr(opened) == f"<{tmp_path}/c: the runs gaussian, vae>"
        assert opened["vae"].model.sample(3).shape == (3, 2)
        with pytest.raises(RunError, match=r"holds 2 runs: open one of them, such as .*c/gaussian"):
            _ = opened.model
        with pytest.raises(ConfigError, match=r"unknown run of .*'vea'; did you mean 'vae'"):
            opened["vea"]

    def test_a_loop_of_ones_own(self, tmp_path):
        network, average = torch.nn.Linear(2, 2), MetricAverager()
        pyrogen.save(tmp_path / "mine", t=7, model=network, average=average)
        opened = pyrogen.open(tmp_path / "mine")
        assert opened.t == 7
        assert repr(opened) == f"<{tmp_path}/mine: checkpoints of a loop of one's own, t = 7>"
        for wanted in ("model", "step", "space", "data", "metrics", "config", "weights"):
            with pytest.raises(RunError, match=r"name neither the model nor the data: give .* pyrogen.open\("):
                getattr(opened, wanted)
        other = torch.nn.Linear(2, 2)
        opened = pyrogen.open(tmp_path / "mine", model=other)
        assert opened.model is other
        assert torch.equal(other.weight, network.weight)
        with pytest.raises(RunError, match="does not contain 'step'"):
            pyrogen.open(tmp_path / "mine", step=other)

    def test_what_is_none_of_these(self, tmp_path):
        for path in (tmp_path, tmp_path / "absent"):
            with pytest.raises(RunError, match="holds neither a run"):
                pyrogen.open(path)


class TestTheDescription:
    def test_a_run_of_version_01_is_opened_with_its_data(self, tmp_path):
        data = images(0, tmp_path / "data.npz")
        run, done = trained(tmp_path / "run", "kde", data)
        (run.path / "data.json").unlink()
        opened = pyrogen.open(run.path)
        assert torch.equal(opened.model.points, done.model.points)
        assert opened.description == done.data.description
        assert len(opened.data.test) == 12
        data.unlink()
        with pytest.raises(DataError, match=r"has no data.json, as in version 0.1, so .* its data: .*no such file"):
            _ = pyrogen.open(run.path).model
        images(0, data)
        train(run)
        assert run.described_data() == (done.data.description, {"points": 96})

    def test_a_file_that_is_not_what_was_written_is_refused(self, tmp_path):
        run, _ = trained(tmp_path / "run", "gaussian", points(0, tmp_path / "data.npy"))
        file = run.path / "data.json"
        whole = file.read_text()
        form = unseal_json(whole)
        for text, message in (
            (whole.replace("3", "4", 1), "is damaged: restore it, or delete it"),
            (whole[:-9], "is damaged"),
            ("", "is damaged"),
            (seal_json({**form, "version": 7}), "has version 7; this pyrogen reads version 1"),
            (seal_json({**form, "data": {**form["data"], "shape": [-1]}}), "is not a description"),
            (seal_json({**form, "data": {**form["data"], "space": {"support": "odd"}}}), "is not a description"),
            (seal_json({"version": 1}), "is not a description"),
            (seal_json({"version": 1, "data": form["data"], "chosen": {}}), None),
        ):
            file.write_text(text)
            if message:
                with pytest.raises(RunError, match=message) as caught:
                    _ = pyrogen.open(run.path).space
                assert "\n" not in str(caught.value)
        with pytest.raises(DataError, match="are needed here"):  # the covariance is not guessed
            _ = pyrogen.open(run.path).model
        json.loads(whole)


def test_a_run_is_trained_only_as_far_as_it_is_not(tmp_path: Path) -> None:
    folder, settings = tmp_path / "vae", {"options": {"steps": 4, "latent": 2, "hidden": (8,)}}
    with pytest.raises(ConfigError, match="unknown"):
        open_or_train(folder, "vaee")
    assert not folder.exists()
    first = open_or_train(folder, "vae", **settings)
    written = {path: path.stat().st_mtime_ns for path in folder.glob("checkpoint-*/*")}
    again = open_or_train(folder, "vae", **settings)
    assert again.t == first.t == 4
    assert {path: path.stat().st_mtime_ns for path in folder.glob("checkpoint-*/*")} == written
    with pytest.raises(ConfigError, match=r"holds a run of another configuration: latent 2 then, 3 now$"):
        open_or_train(folder, "vae", options={"steps": 4, "latent": 3, "hidden": (8,)})
    with pytest.raises(ConfigError, match="model 'vae' then, 'ppca' now"):
        open_or_train(folder, "ppca")


@pytest.mark.parametrize("name", ["9" * 5000, "💥" * 400])
def test_a_name_that_no_folder_can_have_is_one_sentence(name: str) -> None:
    with pytest.raises(RunError, match=r"^cannot open .{200}: File name too long$"):
        pyrogen.open(name)
    with pytest.raises(RunError, match="File name too long"):
        open_or_train(name, "ppca")
