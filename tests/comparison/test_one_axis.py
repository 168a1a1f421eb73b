"""Explicit and implicit models on one axis: in ``scores.json``, on the page and on the command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import caller

import pyrogen

pytestmark = pytest.mark.usefixtures("quick_measures")

SMALL = {"batch_size": 16, "features": ("values",)}
MODELS = ["gaussian", "vae:latent=2:hidden=8,8", "gan:latent=2:hidden=8,8", "maf:hidden=8"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(file, np.random.default_rng(0).normal(size=(200, 3)))
    return file


def test_a_comparison_has_both_scores(table: Path, tmp_path: Path) -> None:
    card = pyrogen.compare(MODELS, table, out=tmp_path / "c", steps=5, **SMALL)
    scores = {name: entry["scores"] for name, entry in card["models"].items()}
    gaussian, vae, gan, maf = (scores[name] for name in MODELS)
    smoothed = "smoothed_log_likelihood"
    assert gaussian[smoothed]["kind"] == card["anchors"]["train"]["scores"][smoothed]["kind"] == "exact"
    assert vae[smoothed]["kind"] == gan[smoothed]["kind"] == "lower_bound"
    assert len({one[smoothed]["noise"] for one in (gaussian, vae, gan)}) == 1
    assert smoothed not in maf
    assert "ais" not in gaussian
    assert vae["ais"]["noise"] is None
    assert gan["ais"]["noise"] > 0
    assert {"value", "stderr", "kind", "gap", "noise", "chains", "steps"} <= vae["ais"].keys()
    pairs = [set(entry["models"]) for entry in card["comparisons"][smoothed]]
    assert {"gaussian", MODELS[2]} in pairs
    page = (tmp_path / "c" / "report.html").read_text()
    assert "One axis for explicit and implicit models" in page
    assert "Rate against distortion" in page
    assert smoothed in (tmp_path / "c" / "scores.csv").read_text()


def test_neither_score_where_it_is_not_wanted(table: Path, tmp_path: Path) -> None:
    card = pyrogen.compare(MODELS[:2], table, out=tmp_path / "c", steps=5, ais=False, **SMALL)
    assert not any({"ais", "smoothed_log_likelihood"} & entry["scores"].keys() for entry in card["models"].values())
    assert "One axis" not in (tmp_path / "c" / "report.html").read_text()


def test_evaluate(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = caller(monkeypatch, capsys, tmp_path)
    for model in ("ppca", "maf"):
        options = ["--set", "hidden=8"] if model == "maf" else []
        assert call("train", model, "--data", str(table), "--steps", "3", "--out", model, *options)[0] == 0
    status, out, _ = call("evaluate", "ppca", "--ais", "--gap", "0.5", "--minutes", "0.1", "--json")
    assert status == 0
    scores = json.loads(out)["scores"]
    assert scores["ais"]["value"] == pytest.approx(scores["log_likelihood"]["value"], abs=0.5)
    assert list((tmp_path / "ppca" / "ais").glob("checkpoint-*"))
    status, _, error = call("evaluate", "ppca", "--gap", "0.5")
    assert (status, "give --ais as well" in error) == (2, True)
    monkeypatch.setattr(
        sys.modules["pyrogen.measure.evaluate"], "evaluate", None
    )  # refused before any score is computed
    status, _, error = call("evaluate", "maf", "--ais")
    assert status == 2
    assert "the likelihood of a Flow is exact: annealed importance sampling has nothing to bound" in error
