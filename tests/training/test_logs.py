"""Rows and pictures for TensorBoard, MLflow and a function of the user's, and the page that follows a run."""

import json
import os
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pyrogen
from pyrogen.cli.uses.watch import HOST, Page
from pyrogen.errors import ConfigError, RunError, RunWarning
from pyrogen.training import Run, train
from pyrogen.training.monitoring.logs import MLflow, logged

SMALL = {"hidden": (8,), "latent": 2, "batch_size": 16}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 10 steps that was logged for TensorBoard and continued to 12."""
    folder = tmp_path_factory.mktemp("runs") / "vae"
    pyrogen.train("vae", out=folder, steps=10, log="tensorboard", **SMALL)
    opened = Run.open(folder)
    with logged(opened, None, "tensorboard") as watch:
        train(opened, watch, steps=12)
    return Run.open(folder)


def test_tensorboard_has_the_rows_and_the_pictures(run) -> None:
    found = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"images": 0}).Reload()
    rows = run.metrics()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [
        (row["t"], pytest.approx(row["loss"], rel=1e-6)) for row in rows
    ]
    assert {"valid_loss", "valid_kl", "examples_per_second"} <= set(found.Tags()["scalars"])
    assert [event.step for event in found.Images("samples")] == list(range(1, 13))


def test_a_function_gets_every_row_and_its_method_every_picture(tmp_path) -> None:
    class Kept(list):
        def __call__(self, row):
            self.append(row)

        def picture(self, path, t):
            self.append((path.name, t))

    rows = []
    opened = pyrogen.train("vae", out=tmp_path / "a", steps=3, log=rows.append, **SMALL)
    assert rows == opened.metrics
    kept = Kept()
    pyrogen.train("vae", out=tmp_path / "b", steps=1, log=kept, **SMALL)
    assert kept[1:] == [("00000001.png", 1)]


def test_mlflow_has_options_rows_and_pictures_of_one_run_however_often_continued(tmp_path, monkeypatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'store'}")
    opened = pyrogen.train("vae", out=tmp_path / "run", steps=2, log="mlflow", **SMALL)
    again = Run.open(opened.path)
    with logged(again, None, "mlflow") as watch:
        train(again, watch, steps=3)
    client = MlflowClient()
    (found,) = client.search_runs(["0"])
    assert found.data.params.items() >= {"model": "vae", "latent": "2", "hidden": "(8,)"}.items()
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(row["t"], row["loss"]) for row in again.metrics()]
    assert len(client.list_artifacts(found.info.run_id, "samples")) == 3
    assert found.info.status == "FINISHED"
    logger = MLflow(again)
    logger.id = "gone"
    with pytest.warns(RunWarning, match="mlflow did not log"):
        logger({"t": 9, "loss": 1.0})


def test_what_cannot_be_logged_is_refused_before_training(tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="unknown log 'tensorbord'; did you mean 'tensorboard'"):
        pyrogen.train("vae", out=tmp_path / "a", steps=1, log="tensorbord", **SMALL)
    for package in ("mlflow", "tensorboard"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
        with pytest.raises(ConfigError, match=rf"needs the package {package}: pip install 'pyrogen\[{package}\]'"):
            pyrogen.train("vae", out=tmp_path / package, steps=1, log=package, **SMALL)
    with pytest.raises(ConfigError, match="unknown log 'tensorbord'"):
        pyrogen.compare(["gaussian"], out=tmp_path / "one", log="tensorbord")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def followed(run, tmp_path):
    """A copy of the run."""
    shutil.copytree(run.path, tmp_path / "vae")
    return Run.open(tmp_path / "vae")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of the page of a folder."""
    server = HTTPServer((HOST, 0), partial(Page, folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def served(followed):
    """The address of the page of the copy."""
    with serving(followed.path) as address:
        yield address


def get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_the_page_follows_the_run(followed, served) -> None:
    status, page = get(served + "/")
    assert status == 200
    assert b"vae on digits" in page
    assert b"default-src 'none'" in page
    state = json.loads(get(served + "/state")[1])
    assert (state["t"], state["steps"], state["picture"]) == (12, 12, "picture?vae-00000012")
    assert (state["title"], state["runs"]) == ("vae on digits", [])
    assert state["row"] == followed.metrics()[-1]
    followed.log({"t": 13, "loss": float("inf")})
    state = json.loads(get(served + "/state")[1])
    assert (state["t"], state["row"]["loss"]) == (13, "inf")
    assert get(served + "/curves.svg?t=1")[1].lstrip().startswith(b"<?xml")
    assert get(served + "/picture?1")[1].startswith(b"\x89PNG")


def test_the_page_gives_nothing_else_and_nothing_to_pages_elsewhere(served) -> None:
    for path in ("/config.toml", "/../config.toml", "/samples/", "//etc/passwd"):
        assert get(served + path)[0] == 404
    assert get(served + "/state", Host="evil.example")[0] == 403
    assert get(served + "/state", Host="localhost")[0] == 200


def test_the_page_of_a_comparison_follows_the_newest_run_and_lists_all(run, tmp_path) -> None:
    for name in ("vae", "vae-latent=2"):
        shutil.copytree(run.path, tmp_path / name)
        os.utime(tmp_path / name / "metrics.jsonl", (0, 0))
    with serving(tmp_path) as address:
        Run.open(tmp_path / "vae").log({"t": 13, "loss": 2.0})
        state = json.loads(get(address + "/state")[1])
        assert (state["title"], state["t"]) == ("vae on digits", 13)
        Run.open(tmp_path / "vae-latent=2").log({"t": 14, "loss": float("nan")})
        os.utime(tmp_path / "vae" / "metrics.jsonl", (0, 0))
        state = json.loads(get(address + "/state")[1])
        assert (state["title"], state["t"]) == ("vae-latent=2 on digits", 14)
        assert state["picture"] == "picture?vae-latent%3D2-00000012"
        assert state["runs"] == [["vae", "13 of 12", "loss 2"], ["vae-latent=2", "14 of 12", "loss nan"]]


def test_a_folder_without_runs_is_refused(tmp_path) -> None:
    from pyrogen.cli.uses.watch import watch

    with pytest.raises(RunError, match="holds neither a run"):
        watch(tmp_path)
