"""The verdict on samples: its tests where the answer is known, planted faults, and what it is given."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from helpers import points
from scipy.stats import binom

import pyrogen
from pyrogen.errors import DataError
from pyrogen.measure.verdict import FAULTS, Judge, Test, Verdict, judge_samples
from pyrogen.measure.verdict.cells import Cells
from pyrogen.measure.verdict.copying import Pool, c_t
from pyrogen.measure.verdict.fidelity import stray
from pyrogen.measure.verdict.hypothesis import deficit, excess
from pyrogen.measure.verdict.variety import distinct, missing

COPIES, OFF, NARROW, MISSES = FAULTS


def uniform(p_values, level=0.05, low=0.01, high=0.09):
    share = float((torch.tensor(p_values) <= level).float().mean())
    return low <= share <= high


@pytest.mark.parametrize("factor", [1.0, 2.0, 4.0])
def test_excess_and_deficit_are_binomial_tails(factor):
    assert excess(30, 100, 5, 200, factor) == pytest.approx(binom.sf(29, 35, factor * 100 / (factor * 100 + 200)))
    assert deficit(5, 100, 30, 200, factor) == pytest.approx(binom.cdf(5, 35, 100 / (100 + factor * 200)))
    assert excess(0, 100, 5, 200, factor) == 1
    assert deficit(5, 100, 0, 200, factor) == 1


def test_false_alarms_without_copying_are_at_most_as_frequent_as_they_say_whatever_the_model(monkeypatch):
    monkeypatch.setattr("pyrogen.measure.verdict.copying.PERMUTATIONS", 500)
    exact, few, narrow, grid = [], [], [], []
    for trial in range(300):
        draws = torch.Generator().manual_seed(trial)
        train, held, samples = (torch.randn(n, 4, generator=draws) for n in (100, 60, 80))
        pool = Pool(train, held, "values", trial)
        exact.append(pool.tests(samples)[0].p_value)
        few.append(pool.tests(samples[torch.arange(80) % 8])[0].p_value)
        narrow.append(pool.tests(0.3 * samples)[0].p_value)
        train, held, samples = (x[:, :2].round() for x in (train, held, samples))  # equal rows on both sides
        grid.append(Pool(train, held, "values", trial).tests(samples)[0].p_value)
    for p_values in (exact, few, narrow, grid):  # of ten close samples at times, so at most as often as they say
        assert uniform(p_values, low=0, high=0.07)


def test_a_few_copies_are_found_and_equal_rows_are_no_evidence():
    train, held, samples = points(300, 6), points(200, 6, seed=1), points(250, 6, seed=2)
    mixed = torch.cat([train[:30] + 0.01, samples[30:]])
    assert Pool(train, held, "values").tests(mixed)[0].p_value < 0.001
    assert Pool(train, held, "values").tests(torch.cat([train[:30], samples[30:]]))[1].p_value < 1e-6
    grid = [x.round() for x in (train[:, :2], held[:, :2], samples[:, :2])]  # every row occurs on both sides
    assert Pool(grid[0], grid[1], "values").tests(grid[2])[1].p_value == 1


def test_a_repeated_sample_counts_once_among_the_nearest():
    train, held = torch.zeros(60, 1), torch.arange(1.0, 61.0)[:, None]
    samples = torch.cat([torch.full((20, 1), 0.5), torch.arange(100.0, 120.0)[:, None]])
    once = torch.arange(40) >= 19
    all_of_them, distinct_ones = (Pool(train, held, "values").tests(samples, mask)[1] for mask in (None, once))
    assert all_of_them.p_value < 1e-6
    assert distinct_ones.p_value == pytest.approx(21 / 81)


def test_nearer_than_held_is_the_probability_of_a_first_run():
    train, held = torch.zeros(60, 1), torch.arange(1.0, 61.0)[:, None]
    samples = torch.cat([torch.full((2, 1), 0.5), torch.full((38, 1), 100.0)])
    test = Pool(train, held, "values").tests(samples)[1]
    assert test.value == 2 / 40
    assert test.p_value == pytest.approx(40 / 100 * 39 / 99)


def test_c_t_is_the_standardised_mann_whitney_statistic():
    a, b = torch.rand(40), torch.rand(30)
    cells = Cells(1, torch.zeros(40).long(), torch.zeros(30).long(), torch.zeros(5).long())
    u = float((a[:, None] > b).sum())
    expected = (u - 40 * 30 / 2) / (40 * 30 * 71 / 12) ** 0.5
    assert c_t(a, b, cells, "values").value == pytest.approx(expected, rel=1e-6)
    assert c_t(a - 1, b, cells, "values").p_value == 0.001
    assert c_t(a[:5], b, Cells(1, *(torch.zeros(n).long() for n in (5, 30, 5))), "values").p_value == 1


def test_p_values_of_strays_and_of_missing_parts_are_small_at_most_as_often_as_they_say():
    strays, losses = [], []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        of_samples, of_data = (torch.as_tensor(rng.exponential(size=n)) for n in (200, 400))
        strays.append(stray(of_samples, of_data, "far from data", "values").p_value)
        rows = [torch.as_tensor(rng.integers(0, 10, n)) for n in (200, 150, 250)]
        losses.append(missing(Cells(10, *rows), "values", trial).p_value)
    assert uniform(strays, low=0, high=0.05)
    assert uniform(losses, low=0, high=0.05)


def test_missing_names_the_empty_class():
    rows = [torch.arange(n) % 5 for n in (300, 200, 300)]
    cells = Cells(5, rows[0][rows[0] != 3], rows[1], rows[2], tuple("abcde"))
    test = missing(cells, "pixels")
    assert test.p_value < 1e-6
    assert test.detail["lacking"] == ["d"]
    assert test.value == pytest.approx(0.2, abs=0.01)


def test_distinct_keeps_one_of_each_repeated_sample():
    held = points(100, 3)
    kept = distinct(points(10, 3, seed=5)[torch.arange(200) % 10], held)
    assert kept.sum() == 10
    assert kept[:10].all()


def test_a_verdict_corrects_within_and_over_faults():
    given = {COPIES: [0.001, 0.5, 0.9], OFF: [0.002], NARROW: [0.9, 0.8], MISSES: [0.02]}
    tests = [Test(fault, "t", "values", 0.0, p) for fault, ps in given.items() for p in ps]
    beside = Test(NARROW, "shown beside", "values", 0.0, 1e-9, decides=False)
    verdict = Verdict((*tests, beside), "", {"samples": 100, "train": 100, "held": 100})
    corrected = {COPIES: 0.009, OFF: 0.008, NARROW: 1.0, MISSES: 0.04}  # Holm: .002 x 4, .003 x 3, .02 x 2
    assert verdict.p_values == pytest.approx({fault: p for fault, p in corrected.items()})
    assert verdict.found == (COPIES, OFF)
    assert verdict.sentence == "copies (p = .009); off the data (p = .008)"
    assert json.loads(json.dumps(verdict.as_dict()))["found"] == [COPIES, OFF]


@cache
def digits():
    data = pyrogen.load("digits")
    parts = [split.tensors() for split in (data.train, data.valid, data.test)]
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    x, y = (torch.cat([part[i] for part in parts])[order] for i in (0, 1))
    judge = Judge(x[:700], x[700:1200], labels=y[:700], classes=data.classes)
    return judge, x[:700], x[1200:], y[1200:]


def faulty(name):
    _, train, x, y = digits()
    draws = torch.Generator().manual_seed(1)
    n = len(x)
    copy = train[torch.randperm(700, generator=draws)[:n]]
    return {
        "none": ((), x),
        "none, by class": ((), x[y.argsort()]),
        "noise": ((OFF,), (x + 0.1 * torch.randn(x.shape, generator=draws)).clamp(0, 1)),
        "contrast": ((OFF,), 0.9 * x),
        "garbage": ((OFF,), torch.cat([torch.rand(11, 1, 8, 8, generator=draws), x[11:]])),
        "half the classes": ((MISSES,), x[y < 5]),
        "one class missing": ((MISSES,), x[y != 8]),
        "ten images": ((NARROW, MISSES), x[torch.arange(n) % 10]),
        "a tenth copied": ((COPIES,), torch.cat([copy[:59], x[59:]])),
        "all copied": ((COPIES,), copy),
        "copies with noise": ((COPIES, OFF), (copy + 0.2 * torch.randn(x.shape, generator=draws)).clamp(0, 1)),
        "copies of less contrast": ((COPIES, OFF, NARROW), 0.7 * copy + 0.15),
        "moved copies": ((COPIES, OFF, MISSES), torch.nn.functional.pad(copy, (1, 0))[..., :-1]),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["none", "none, by class", "noise", "contrast", "garbage", "half the classes", "one class missing", "ten images",
     "a tenth copied", "all copied", "copies with noise", "copies of less contrast", "moved copies"],
)  # fmt: skip
def test_planted_faults_get_their_name(name):
    found, samples = faulty(name)
    verdict = digits()[0](samples)
    assert verdict.found == found
    assert ("none found" in verdict.sentence) == (not found)
    assert "no sign" not in verdict.sentence


def test_missing_classes_are_named_and_limits_are_numbers():
    verdict = digits()[0](faulty("half the classes")[1])
    assert "classes 5, 6, 7, 8, 9" in verdict.sentence
    verdict = digits()[0](faulty("none")[1])
    assert verdict.limits.startswith("597 samples and 500 held-out data cannot show fewer than 13 exact copies")
    assert verdict.sizes == {"samples": 597, "train": 700, "held": 500}


def test_fewer_copies_than_the_limit_are_not_found_and_more_are():
    judge, train, x, _ = digits()
    assert COPIES not in judge(torch.cat([train[:6], x[6:]])).found
    assert COPIES in judge(torch.cat([train[:24], x[24:]])).found


def test_a_verdict_is_the_same_for_the_same_seed_and_in_any_order():
    judge, _, _, _ = digits()
    samples = faulty("a tenth copied")[1]
    assert judge(samples).as_dict() == judge(samples).as_dict()
    assert judge(samples.flip(0)).found == judge(samples).found


def test_rows_of_a_table_and_a_feature_space():
    train, held, x = points(400, 5), points(300, 5, seed=1), points(300, 5, seed=2)
    clean = judge_samples(x, train, held)
    assert not clean.found
    assert {test.space for test in clean.tests} == {"values"}
    moved = torch.cat([train[:60] + 5 * torch.tensor([0.0, 0, 0, 0, 1]), x[60:]])
    blind = judge_samples(moved, train, held)
    assert COPIES not in blind.found
    seeing = judge_samples(moved, train, held, features={"first": lambda rows: rows[:, :4]})
    assert COPIES in seeing.found
    assert any(test.space == "first" and test.p_value < 0.001 for test in seeing.tests)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.rand(20, 5), "at least 50 rows of samples, got 20"),
        (torch.rand(60, 4), "of one shape"),
        (torch.full((60, 5), torch.nan), "60 of 60 rows of samples"),
    ],
)
def test_what_cannot_be_judged_is_refused(samples, message):
    with pytest.raises(DataError, match=message):
        judge_samples(samples, torch.rand(60, 5), torch.rand(60, 5))


def test_constant_data_and_equal_samples_are_judged_without_errors():
    same = torch.ones(60, 3)
    assert not judge_samples(same, same, same).found
    assert judge_samples(torch.zeros(60, 3), points(60, 3), points(60, 3, seed=1)).found
