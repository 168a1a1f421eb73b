"""Every two models of a comparison, with Holm's correction, and several seeds."""

import pytest
import torch
from scipy.stats import ttest_rel

from pyrogen.comparison.paired import paired_differences
from pyrogen.comparison.scoring import aggregate_seeds
from pyrogen.errors import ConfigError
from pyrogen.measure.intervals import holm
from pyrogen.measure.likelihood import mean_score
from pyrogen.protocols import Score


def model(shift, noise=0.1, kind="exact", seed=0):
    """A likelihood of 200 data that are hard and easy for all models alike."""
    data = torch.randn(200, generator=torch.Generator().manual_seed(seed))
    own = noise * torch.randn(200, generator=torch.Generator().manual_seed(100 + round(1000 * shift)))
    return {"log_likelihood": mean_score(5 * data + own + shift, kind)}


def test_holm_of_known_p_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_all_pairs_of_comparable_models():
    models = {
        "a": [model(0.0)],
        "b": [model(0.05)],
        "c": [model(0.0, 2, "lower_bound")],
        "kde": [model(9.0, kind="estimate")],
    }
    found = paired_differences(models)
    assert found.keys() == {"log_likelihood"}
    assert [entry["models"] for entry in found["log_likelihood"]] == [["a", "b"], ["a", "c"], ["b", "c"]]
    first = found["log_likelihood"][0]
    assert first["adjusted_p_value"] == pytest.approx(3 * first["p_value"])
    assert first["adjusted_p_value"] < 0.01  # 5 standard errors apart, where the data vary by 5
    assert first["stderr"] < 0.02
    assert found["log_likelihood"][1]["adjusted_p_value"] > 0.05


def test_scores_without_an_error_are_left_out():
    one = {"modes": Score(7, 0.0, "statistic", "modes")}
    assert paired_differences({"a": [one], "b": [{"modes": Score(8, 0.0, "statistic", "modes")}]}) == {}
    (entry,) = paired_differences({"a": [one], "b": [one]})["modes"]
    assert (entry["difference"], entry["p_value"]) == (0, 1)


def test_several_seeds_are_paired_by_seed():
    shifts = {"a": (0.0, 0.3, 0.2), "b": (0.4, 0.5, 0.7)}
    models = {name: [model(s, seed=i) for i, s in enumerate(each)] for name, each in shifts.items()}
    (entry,) = paired_differences(models)["log_likelihood"]
    a, b = ([s["log_likelihood"].value for s in models[name]] for name in "ab")
    known = ttest_rel(a, b)
    assert entry["difference"] == pytest.approx(sum(a) / 3 - sum(b) / 3)
    assert entry["p_value"] == pytest.approx(known.pvalue)
    with pytest.raises(ConfigError, match="a and b on the same seeds, got 3 and 2"):
        paired_differences(models | {"b": models["b"][:2]})


def test_the_mean_over_seeds_has_the_interval_of_students_t():
    results = [{"scores": {"s": Score(v, 0.1, "exact", "nats")}, "train_seconds": 1.0} for v in (1.0, 2.0, 6.0)]
    score = aggregate_seeds(results)["scores"]["s"]
    assert (score["value"], score["seeds"]) == (3.0, 3)
    assert score["stderr"] == pytest.approx((7 / 3) ** 0.5)
    assert score["interval"] == pytest.approx([3 - 4.30265 * score["stderr"], 3 + 4.30265 * score["stderr"]], rel=1e-5)
    shares = [{"scores": {"s": Score(v, 0.1, "statistic", "share")}, "train_seconds": 1.0} for v in (0.1, 0.9)]
    assert aggregate_seeds(shares)["scores"]["s"]["interval"] == [0, 1]
    assert aggregate_seeds(results[:1])["scores"]["s"]["interval"][0] == pytest.approx(1 - 0.196, abs=1e-4)
