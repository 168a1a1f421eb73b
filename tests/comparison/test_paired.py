"""Every two models of a comparison, with Holm's correction, and several seeds."""

from dataclasses import replace
from itertools import combinations
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from pyrogen.comparison.paired import paired_differences
from pyrogen.comparison.scoring import aggregate_seeds, common_test_rows
from pyrogen.data import Split
from pyrogen.errors import ConfigError
from pyrogen.measure.intervals import holm, seed_error
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


def redraw(rng, seeds, n, pool, spread=0.2):
    """A score of each seed: that of a run, and the mean over its own n of ``pool`` rows; and the share in common."""
    rows = rng.normal(size=pool)
    sets = [rng.permutation(pool)[:n] for _ in range(seeds)]
    values = spread * rng.normal(size=seeds) + [rows[index].mean() for index in sets]
    shared = np.mean([np.isin(a, b).mean() for a, b in combinations(sets, 2)])
    scores = [mean_score(torch.from_numpy(rows[index]), "exact") for index in sets]
    return [{"scores": {"s": replace(score, value=v)}} for score, v in zip(scores, values, strict=True)], shared


@pytest.mark.parametrize(("pool", "seeds"), [(50, 3), (50, 10), (100, 3), (200, 5), (10_000, 3)])
def test_the_interval_over_seeds_and_data_covers_the_score_over_redraws_of_both(pool, seeds):
    """Test sets of 50 rows, of which all, a half, a quarter and almost none are in common."""
    rng = np.random.default_rng(pool + seeds)
    covered = {"both": 0, "seeds": 0}
    for _ in range(400):
        results, overlap = redraw(rng, seeds, 50, pool)
        for name, share in {"both": overlap, "seeds": 0.0}.items():
            low, high = aggregate_seeds(results, share)["scores"]["s"]["interval"]
            covered[name] += low <= 0 <= high
    assert 0.92 < covered["both"] / 400 < 0.985
    if pool == 50:
        assert covered["seeds"] < covered["both"]
    if (pool, seeds) == (50, 10):
        assert covered["seeds"] < 0.7 * 400


def test_differences_over_seeds_hold_the_error_of_the_data():
    """Two models that differ by rows: the same rows for all seeds say little about others."""
    rng = np.random.default_rng(0)
    found = {0.0: 0, 1.0: 0}
    for _ in range(200):
        rows, other = rng.normal(size=60), rng.normal(size=60)
        models = {
            name: [{"elbo": mean_score(torch.from_numpy(v + 0.01 * rng.normal()), "lower_bound")} for _ in range(5)]
            for name, v in {"a": rows, "b": rows + 0.5 * other}.items()
        }
        for overlap in found:
            (entry,) = paired_differences(models, overlap)["elbo"]
            found[overlap] += entry["p_value"] < 0.05
    assert found[1.0] < 0.09 * 200
    assert found[0.0] > 0.5 * 200


def test_the_share_of_test_rows_in_common():
    def data(rows):
        return SimpleNamespace(test=Split(torch.tensor(rows, dtype=torch.float32)[:, None]))

    sets = [data([1, 2, 3, 4]), data([3, 4, 5, 6]), data([7, 8, 1, 2])]
    assert common_test_rows(sets) == pytest.approx((0.5 + 0.5 + 0.0) / 3)
    assert common_test_rows(sets[:1]) == 0
    assert common_test_rows([sets[0], sets[0]]) == 1


def test_degrees_of_freedom():
    assert seed_error([1.0, 2.0, 6.0]) == (pytest.approx((7 / 3) ** 0.5), 2)
    error, freedom = seed_error([1.0, 2.0, 6.0], 7 / 3)
    assert (error, freedom) == (pytest.approx((14 / 3) ** 0.5), pytest.approx(8))  # Welch and Satterthwaite's
    assert seed_error([1.0, 1.0], 0.25) == (0.5, inf)
