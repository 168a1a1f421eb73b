"""A scorecard with every kind of model, as ``compare`` creates it, an exploration, and a browser."""

from collections.abc import Callable, Iterator
from math import exp, nan, sin
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from pyrogen.protocols import Score
from pyrogen.report import Exploration, write_report
from pyrogen.report.explorer import Plane, Sliders, Units

LogRows = list[dict[str, float]]


LONG = "a_very_long_model_name_without_any_space_latent_64_hidden_512_512_512_beta_0.5"


def judged(mmd2: float, c2st: float, ratio: float) -> dict[str, Any]:
    """Return the scores that every sampler has."""
    scores = {
        "mmd2": Score(mmd2, 0.0, "estimate", "mmd2", {"p_value": 0.004, "n": 449}),
        "c2st": Score(c2st, 0.02, "statistic", "accuracy", {"null": [0.45, 0.55], "n": 898}),
        "nearest_neighbour": Score(2 * ratio, 0.03, "statistic", "distance", {"ratio": ratio}),
    }
    return {name: score.as_dict() for name, score in scores.items()}


def likelihood(value: float, kind: Any, **detail: Any) -> dict[str, Any]:
    """Return a log-likelihood alone."""
    return {"log_likelihood": Score(value, 0.6, kind, "nats", {"n": 449, **detail}).as_dict()}


@pytest.fixture
def scorecard() -> dict[str, Any]:
    """Exact, lower-bounded, upper-bounded, estimated, diverged, failed and long-named models, and two anchors."""
    kde = Score(321.0, 2.0, "estimate", "nats", {"bandwidth": 0.1, "note": "a kernel-density estimate misleads"})
    elbo = Score(57.3, 0.7, "lower_bound", "nats", {"n": 449}).as_dict()
    bits = Score(2.71, 0.02, "upper_bound", "bits/dim", {"n": 449}).as_dict()
    cost = {"train_seconds": 17.9, "sample_seconds": 0.004, "parameters": 61322}
    models = {
        "gaussian": {"family": "explicit", "about": "one Gaussian", "scores": likelihood(49.4, "exact"), **cost},
        "vae": {"family": "explicit", "scores": likelihood(61.2, "lower_bound", k=100), **cost},
        "sandwich": {"family": "explicit", "scores": likelihood(99.9, "upper_bound"), **cost},
        "diverged": {"family": "explicit", "scores": likelihood(nan, "exact"), **cost},
        "gan": {"family": "implicit", "scores": {"kde": kde.as_dict()}, **cost},
        LONG: {"family": "implicit", "scores": {}, **cost},
        "broken": {"family": "implicit", "error": "the loss was NaN after step 312", "scores": {}},
    }
    models["gaussian"]["scores"] |= judged(0.0213, 0.93, 1.31)
    models["vae"]["scores"] |= judged(0.0048, 0.72, 1.04) | {"elbo": elbo, "bits_per_dim": bits}
    models["gan"]["scores"] |= judged(0.0029, 0.66, 0.71)
    models["gan"]["scores"]["fid"] = Score(9.84, 0.3, "estimate", "distance").as_dict()
    return {
        "data": "digits",
        "space": "density on [0, 1], 17 levels dequantised",
        "split": {"train": 1168, "valid": 180, "test": 449},
        "budget": {"steps": 2000, "batch_size": 128, "seeds": [0]},
        "models": models,
        "anchors": {
            "train": {"about": "training data against test data", "scores": judged(0.0003, 0.51, 1.0)},
            "gaussian": {"about": "the floor", "scores": judged(0.0001, 0.50, 1.31)},
        },
    }


MEASURES = ("fid", "kid", "precision", "recall", "density", "coverage", "swd", "ndb", "fld")
KINDS = ("copies", "off the data", "misses part of the data", "narrow")


def verdict(*found: str) -> dict[str, Any]:
    """What tests of samples found, with their p-values."""
    p_values = {kind: 0.001 if kind in found else 0.4 for kind in KINDS}
    tests = [
        {
            "kind": kind,
            "name": f"test of {kind}",
            "space": "pixels",
            "value": 0.1,
            "p_value": p,
            "detail": "1,000 samples",
        }
        for kind, p in p_values.items()
    ]
    return {
        "found": list(found),
        "sentence": f"{found[0]}, p = 0.001" if found else "none of these found",
        "p_values": p_values,
        "limits": "450 samples show copies from a share of 3% on",
        "sizes": {"samples": 450, "train": 1168, "held": 629},
        "lacking": [],
        "tests": tests,
    }


@pytest.fixture
def full_card(scorecard: dict[str, Any]) -> dict[str, Any]:
    """A scorecard with intervals, verdicts, measures of features, a conditional likelihood and paired differences."""
    models = {name: scorecard["models"][name] for name in ("gaussian", "vae", "gan")}
    for name, model in models.items():
        model["weights"] = {"step": 1850, "rule": "lowest validation loss"}
        model["verdict"] = verdict(*{"gaussian": ["off the data", "narrow"], "gan": ["copies"]}.get(name, []))
        for score in model["scores"].values():
            half = 2.1 * (score["stderr"] or 0.1 * score["value"])
            score["interval"] = [score["value"] - half, score["value"] + half]
        for measure in MEASURES:
            for space in ("", "@classifier"):
                detail = {"interval": [0.42, 0.58], "n": 450, "space": space.removeprefix("@") or "values"}
                score = Score(0.5, 0.0, "statistic", "share", detail)
                model["scores"][measure + space] = score.as_dict()
    given = Score(70.5, 0.5, "exact", "nats", {"of": "log p(x | y)"}).as_dict()
    models["program"] = {"family": "explicit", "scores": {"log_likelihood": given} | judged(0.004, 0.7, 1.0)}
    pair = {"models": ["vae", "gaussian"], "difference": 11.8, "stderr": 0.4, "p_value": 1e-9, "adjusted_p_value": 2e-9}
    comparisons = {
        "log_likelihood": [pair],
        "mmd2": [pair | {"difference": -0.016, "stderr": 0.01, "adjusted_p_value": 0.2}],
    }
    return scorecard | {"models": models, "comparisons": comparisons}


@pytest.fixture(scope="session")
def digits() -> Tensor:
    """Handwritten digits, ``(1797, 1, 8, 8)`` in [0, 1]."""
    return torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16


@pytest.fixture(scope="session")
def explicit_rows() -> list[dict[str, float]]:
    """Logs of a run that maximises an ELBO, with an outlying start and occasional validation."""
    rows = []
    for t in range(0, 900, 3):
        elbo = 60 - 4000 * exp(-t / 10) - 30 * exp(-t / 200) + sin(t)
        rows.append({"t": t, "loss": -elbo, "elbo": elbo, "seconds": 0.01 * t, "examples_per_second": 5e4})
        if t % 90 == 0:
            rows[-1]["valid_elbo"] = elbo - 2
    return rows


@pytest.fixture(scope="session")
def game_rows() -> list[dict[str, float]]:
    """Logs of an adversarial run."""
    return [{"t": t, "critic_loss": 0.6 + 0.1 * sin(t), "generator_loss": 0.9 - 0.1 * sin(t)} for t in range(100)]


@pytest.fixture
def report(
    scorecard: dict[str, Any], digits: Tensor, explicit_rows: LogRows, game_rows: LogRows, tmp_path: Path
) -> Callable[..., Path]:
    """Write a report on the scorecard; keywords replace parts of it."""

    def write(**changes: Any) -> Path:
        noise = torch.Generator().manual_seed(0)
        blurred = digits[:100] + 0.2 * torch.randn(100, 1, 8, 8, generator=noise)
        given = {
            "scorecard": scorecard,
            "samples": {"gaussian": blurred, "vae": digits[100:164], "gan": digits[200:207]},
            "real": digits[300:449],
            "curves": {"vae": explicit_rows, "gan": game_rows, "diverged": [{"t": 0, "loss": nan}]},
            "config": {"device": "cpu", "models": {"vae": {"latent": 10, "lr": 0.00012345, "hidden": [256, 64]}}},
        }
        return write_report(tmp_path / "report.html", **(given | changes))

    return write


@pytest.fixture
def exploration() -> Callable[..., Exploration]:
    """Thirty labelled pictures of 6 x 5 pixels, three anchors and three units; keywords replace parts of it."""

    def make(**changes: Any) -> Exploration:
        torch.manual_seed(0)
        labels = torch.arange(3).repeat_interleave(10)
        given = {
            "model": "VAE",
            "data": "pictures",
            "classes": ("a", "b", "c"),
            "labels": labels,
            "rows": torch.arange(1000, 1030),
            "pictures": torch.rand(30, 1, 6, 5),
            "anchors": torch.tensor([0, 10, 20]),
            "plane": Plane(torch.randn(30, 2), ("z1", "z2"), False, torch.rand(30, 1, 6, 5)),
            "units": Units(torch.tensor([0.5, 0.001, 0.9]), torch.tensor([1.5, 0.0, 2.0]), 500),
            "sliders": Sliders(
                torch.tensor([2, 0, 1]), torch.linspace(-3, 3, 11), torch.randn(4, 3, 11), torch.rand(4, 3, 11, 1, 6, 5)
            ),
            "paths": torch.rand(3, 9, 1, 6, 5),
            "conditional": False,
        }
        return Exploration(**(given | changes))

    return make


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a file; the test fails if the page has an error or makes a request."""
    troubles, pages = [], []

    def go(path: Path, width: int = 1200, **settings: Any) -> Any:
        page = chromium.new_page(viewport={"width": width, "height": 900}, **settings)
        pages.append(page)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or troubles.append(r.url))
        page.goto(path.as_uri())
        for summary in page.locator("summary").all():
            summary.click()
        return page

    yield go
    for page in pages:
        page.close()
    assert not troubles
