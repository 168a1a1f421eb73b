"""Samples against data: each measure on a case whose answer is known, and in the direction it claims."""

from dataclasses import replace
from math import exp, log, pi

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from helpers import points
from sklearn.neighbors import KernelDensity
from torch import nn

import pyrogen
from pyrogen import SVI, evaluate
from pyrogen.data import Dataset, Measure, Split
from pyrogen.data.toy import ring
from pyrogen.errors import ConfigError
from pyrogen.explicit import VAE, Gaussian
from pyrogen.implicit import GAN
from pyrogen.measure.c2st import c2st
from pyrogen.measure.coverage import mode_scores
from pyrogen.measure.evaluate import anchor_scores, draw, in_chunks, likelihood_scores, sample_scores
from pyrogen.measure.kde import kde_score
from pyrogen.measure.mmd import gaussian_kernel, mmd2, mmd2_from_kernel
from pyrogen.measure.neighbours import nearest_distance, nearest_neighbour
from pyrogen.nn.kernel import best_bandwidth, log_density
from pyrogen.random import scoped_seed

# Maximum mean discrepancy


def naive_mmd2(samples, real):
    """The unbiased estimate by plain loops, bandwidths as documented."""
    x, y = samples.flatten(1).double().tolist(), real.flatten(1).double().tolist()

    def square(a, b):
        return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))

    apart = sorted(square(a, b) ** 0.5 for i, a in enumerate(y) for j, b in enumerate(y) if i != j)
    median = apart[(len(apart) - 1) // 2]

    def k(a, b):
        return sum(exp(-square(a, b) / (2 * (c * median) ** 2)) for c in (0.5, 1, 2)) / 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize(("n", "m", "event"), [(7, 5, (3,)), (5, 8, (1, 2, 2)), (2, 2, (1,))])
def test_mmd_agrees_with_loops(n, m, event):
    samples, real = points(n, *event) + 0.5, points(m, *event, seed=1)
    score = mmd2(samples, real, permutations=5)
    assert score.value == pytest.approx(naive_mmd2(samples, real), abs=1e-6)
    assert (score.kind, score.detail["n"]) == ("estimate", min(n, m))


def test_mmd_is_unbiased_under_the_null():
    values = [mmd2(points(30, 2, seed=i), points(20, 2, seed=1000 + i), permutations=2).value for i in range(300)]
    stderr = np.std(values) / 300**0.5
    assert abs(np.mean(values)) < 3.5 * stderr
    assert stderr < 2e-3
    assert min(values) < 0 < max(values)


def test_mmd_of_permuted_rows_by_formula_and_by_recomputation():
    kernel = gaussian_kernel(points(12, 2).double(), torch.tensor([0.7, 2.0]))
    sign = torch.zeros(6, 12, dtype=torch.bool)
    for row, seed in zip(sign, range(6), strict=True):
        row[torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:5]] = True
    values = mmd2_from_kernel(kernel, sign)
    for value, row in zip(values, sign, strict=True):
        a, b = row.nonzero()[:, 0], (~row).nonzero()[:, 0]
        within = [(kernel[i][:, i].sum() - kernel[i, i].sum()) / (len(i) * (len(i) - 1)) for i in (a, b)]
        assert value.item() == pytest.approx((sum(within) - 2 * kernel[a][:, b].mean()).item(), abs=1e-12)


def test_mmd_p_value_is_even_under_the_null():
    p = [
        mmd2(points(25, 2, seed=i), points(25, 2, seed=5000 + i), permutations=99, seed=i).detail["p_value"]
        for i in range(300)
    ]
    assert np.mean(p) == pytest.approx(0.5, abs=4 * (1 / 12 / 300) ** 0.5)
    for level in (0.1, 0.5, 0.9):
        share = np.mean(np.array(p) <= level)
        assert share == pytest.approx(level, abs=4 * (level * (1 - level) / 300) ** 0.5)


def test_mmd_grows_with_a_shift_of_the_mean():
    real = points(200, 2)
    scores = [mmd2(points(200, 2, seed=1) + shift, real, permutations=199) for shift in (0.0, 0.3, 1.0, 3.0)]
    values = [score.value for score in scores]
    assert values == sorted(values)
    assert [score.detail["p_value"] for score in scores[2:]] == pytest.approx([1 / 200, 1 / 200])
    assert scores[0].detail["p_value"] > 0.01


def test_mmd_sees_a_planted_mode_collapse():
    toy, generator = ring(), torch.Generator().manual_seed(0)
    real, fair = toy.sample(300, generator), toy.sample(300, generator)
    values = []
    for kept in (8, 6, 3, 1):
        which = torch.arange(300) % kept
        values.append(mmd2(toy.modes[which] + 0.01 * points(300, 2), real, permutations=50).value)
    assert mmd2(fair, real, permutations=50).value < values[1]
    assert values == sorted(values)


def test_mmd_is_of_the_seed_alone():
    x, y = points(30, 2), points(30, 2, seed=1)
    state = torch.get_rng_state()
    assert mmd2(x, y, seed=3) == mmd2(x, y, seed=3)
    assert mmd2(x, y, seed=3).detail["p_value"] != mmd2(x, y, seed=4).detail["p_value"]
    assert torch.equal(torch.get_rng_state(), state)


# The classifier two-sample test


def test_c2st_between_chance_and_certainty():
    n, real = 120, points(120, 1, 2, 2)
    null = c2st(points(n, 1, 2, 2, seed=1), real)
    half = 1.96 * (0.25 / (2 * n)) ** 0.5
    assert null.detail == {"null": pytest.approx([0.5 - half, 0.5 + half]), "n": 2 * n}
    assert null.value == pytest.approx(0.5, abs=1.5 * half)
    apart = c2st(points(n + 50, 1, 2, 2, seed=1) + 20, real)
    assert (apart.value, apart.stderr, apart.detail["n"]) == (1.0, 0.0, 2 * n)
    shifted = c2st(points(n, 1, 2, 2, seed=1) + 0.7, real)
    assert null.value + half < shifted.value < 1
    assert shifted.kind == "statistic"


def test_c2st_finds_no_difference_in_identical_copies():
    x = points(120, 2)
    np.random.seed(0)
    score = c2st(x, x.clone())
    assert score.value <= score.detail["null"][1]
    assert score == c2st(x, x.clone())
    assert np.random.rand() == pytest.approx(0.5488135)  # numpy's own stream was not drawn from


# The nearest neighbour


@pytest.mark.parametrize("event", [(8,), (2, 2, 2)])
def test_nearest_distance_agrees_with_all_pairs(event):
    x, others = points(70, *event), points(90, *event, seed=1)
    naive = (x.flatten(1).double()[:, None] - others.flatten(1).double()).square().sum(2).sqrt().min(1).values
    for rows in (1000, 7):
        assert torch.allclose(nearest_distance(x, others, rows).double(), naive, rtol=1e-3)


def test_nearest_neighbour_tells_copies_from_data_and_from_noise():
    train, test = points(400, 8), points(150, 8, seed=1)
    copies = nearest_neighbour(train[:100], train, test)
    assert copies.detail["ratio"] < 0.01
    same = nearest_neighbour(test, train, test)
    assert same.detail["ratio"] == 1
    assert same.value == pytest.approx(nearest_distance(test, train).mean().item())
    assert same.stderr == pytest.approx(nearest_distance(test, train).std().item() / 150**0.5, rel=1e-5)
    assert nearest_neighbour(points(150, 8, seed=2), train, test).detail["ratio"] == pytest.approx(1, abs=0.1)
    assert nearest_neighbour(points(150, 8, seed=2) * 4, train, test).detail["ratio"] > 3


# Kernel density


@pytest.mark.parametrize("bandwidth", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("event", [(1,), (4,), (1, 2, 3)])
def test_kernel_density_agrees_with_scikit_learn(bandwidth, event):
    x, samples = points(60, *event).double(), points(80, *event, seed=1).double()
    theirs = KernelDensity(bandwidth=bandwidth).fit(samples.flatten(1).numpy()).score_samples(x.flatten(1).numpy())
    for rows in (1000, 7):
        assert np.allclose(log_density(x, samples, bandwidth, rows).numpy(), theirs, rtol=1e-9)
    single = log_density(x.float(), samples.float(), bandwidth)
    assert np.allclose(single.numpy(), theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bandwidth", [0.1, 1.0])
def test_kernel_density_integrates_to_one(bandwidth):
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    density = log_density(grid, points(50, 1).double(), bandwidth).exp()
    assert float(density.sum() * (grid[1] - grid[0])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dims", [2, 8, 32])
@pytest.mark.parametrize("n", [300, 1500])
def test_bandwidth_is_close_to_the_best(dims, n):
    samples, valid = points(n, dims), points(300, dims, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.05, 5, 40))
    # Half a step of the grid from the best, 0.18 in log h, costs about 0.18² nats in each dimension.
    assert chosen == pytest.approx(best, abs=0.035 * dims)


def test_kernel_estimate_is_near_the_truth_in_the_plane():
    samples, valid, test = (points(n, 2, seed=i) for i, n in enumerate((4000, 500, 2000)))
    score = kde_score(test, samples, valid)
    truth = float((-0.5 * test.square().sum(1) - log(2 * pi)).mean())
    assert score.value == pytest.approx(truth, abs=0.04)
    assert (score.kind, score.unit, score.detail["samples"], score.detail["n"]) == ("estimate", "nats", 4000, 2000)
    assert score.detail["bandwidth"] == best_bandwidth(valid, samples)
    assert "misleads" in score.detail["note"]


# Modes


def test_modes_of_a_perfect_sampler():
    toy, n = ring(), 20_000
    scores = mode_scores(toy.sample(n, torch.Generator().manual_seed(0)), toy.modes, toy.std)
    assert (scores["modes"].value, scores["modes"].detail) == (8, {"of": 8, "n": n, "floor": 8.0})
    within = 1 - exp(-4.5)  # the share of a Gaussian in the plane within 3 σ
    assert scores["high_quality"].value == pytest.approx(within, abs=4 * (within * (1 - within) / n) ** 0.5)
    assert scores["high_quality"].stderr == pytest.approx((within * (1 - within) / n) ** 0.5, rel=0.1)
    assert 0 <= scores["reverse_kl"].value < 5 * 7 / (2 * n)  # 7 / 2n on average


@pytest.mark.parametrize("kept", [7, 3, 1])
def test_modes_missing(kept):
    toy = ring()
    samples = toy.modes[torch.arange(840) % kept] + 0.01 * points(840, 2).clamp(-2, 2)
    scores = mode_scores(samples, toy.modes, toy.std)
    assert scores["modes"].value == kept
    assert scores["high_quality"].value == 1
    assert scores["high_quality"].stderr == 0
    assert scores["reverse_kl"].value == pytest.approx(log(8 / kept), abs=1e-9)


def test_modes_of_noise():
    scores = mode_scores(torch.zeros(100, 2) + 0.001 * points(100, 2), ring().modes, 0.01)
    assert scores["modes"].value == 0
    assert scores["high_quality"].value == 0


# Everything at once


def dataset(shape=(2,), space="real", levels=0, n=(300, 100, 100), truth=None):
    x = [points(size, *shape, seed=i) for i, size in enumerate(n)]
    if space == "unit":
        x = [torch.sigmoid(part) for part in x]
    if space == "binary":
        x = [(part > 0).float() for part in x]
    return Dataset("made", *map(Split, x), tuple(shape), Measure(space, levels), truth=truth)


class Standard:
    """The standard normal, which is the truth of ``dataset()``; a bare object that samples."""

    def __init__(self, shape=(2,)):
        self.shape = shape

    def sample(self, n, y=None):
        return torch.randn(n, *self.shape)


class StandardDensity(Standard):
    def log_prob(self, x, y=None):
        return dist.Normal(0.0, 1.0).log_prob(x).flatten(1).sum(1)


class StandardPair(Standard):
    """z ~ N(0, 1 / 2) in both dimensions, x | z ~ N(z, 1 / 2)."""

    def model(self, x, y=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 0.5**0.5).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.5**0.5).to_event(1), obs=x)

    def guide(self, x, y=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5).to_event(1))


def fitted(x, y=None):
    loc = pyro.param("loc", torch.zeros(2))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


SAMPLE_SCORES = {"mmd2", "c2st", "nearest_neighbour"}


def trained_step():
    step = SVI(fitted)
    step(points(10, 2))
    return step


@pytest.mark.parametrize(
    ("make", "extra", "kind"),
    [
        (StandardDensity, set(), "exact"),
        (StandardPair, {"elbo", "iwae"}, "lower_bound"),
        (trained_step, set(), "exact"),
        (Standard, {"kde"}, "estimate"),
    ],
    ids=["density", "pair", "step", "sampler"],
)
def test_evaluate_by_capability(make, extra, kind):
    data = dataset(n=(300, 100, 60))
    model = make()
    scores = evaluate(model, data)
    assert scores.keys() == {"log_likelihood"} | extra | SAMPLE_SCORES
    score = scores["log_likelihood"]
    assert (score.kind, score.unit, score.detail["n"]) == (kind, "nats", 60)
    truth = StandardDensity().log_prob(data.test.x)
    assert score.value == pytest.approx(float(truth.mean()), abs=0.05 if kind == "estimate" else 1e-2)
    assert scores["mmd2"].detail["p_value"] > 0.01
    assert scores["nearest_neighbour"].detail["ratio"] == pytest.approx(1, abs=0.4)
    assert evaluate(model, data.test).keys() == {"log_likelihood"} | extra


def test_evaluate_is_of_the_seed_alone_and_changes_nothing():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
            self.net[1].eval()

        def sample(self, n, y=None):
            return self.net(torch.randn(n, 2))

        def log_prob(self, x, y=None):
            return StandardDensity().log_prob(self.net(x))

    model, data = Noisy(), dataset(n=(60, 30, 30))
    state = {name: t.clone() for name, t in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    torch.manual_seed(0)
    random = torch.get_rng_state()
    first = evaluate(model, data, seed=1)
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    torch.manual_seed(1)
    assert evaluate(model, data, seed=1) == first
    assert not torch.equal(draw(model, data, 5, 1), draw(model, data, 5, 2))


def test_adversarial_model_on_binary_data_has_no_likelihood():
    data = dataset((1, 8, 8), "binary", n=(60, 30, 30))
    gan = GAN(data.shape, 3, (8,))
    assert evaluate(gan, data).keys() == SAMPLE_SCORES
    assert likelihood_scores(gan, dataset((1, 8, 8), "unit")).keys() == {"log_likelihood", "kde"}


def test_kernel_estimate_has_no_bits_per_dim():
    data = dataset((1, 8, 8), "unit", 17)
    assert likelihood_scores(GAN(data.shape, 3, (8,)), data).keys() == {"log_likelihood", "kde"}


class Uniform:
    """The uniform density on [0, 1]^D."""

    kind = "density"

    def sample(self, n, y=None):
        return torch.rand(n, 1, 4, 4)

    def log_prob(self, x, y=None):
        return x.new_zeros(len(x))


class UniformLogit(Uniform):
    """The same density in the coordinates of the logit space."""

    def log_prob(self, x, y=None):
        squeeze = 1e-6
        s = torch.sigmoid(x.double())
        return (s.log() + (1 - s).log() - log(1 - 2 * squeeze)).flatten(1).sum(1)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("space", ["unit", "logit"])
def test_bits_per_dim_of_the_uniform_density(levels, space):
    measure = Measure(space, levels)
    x = measure.from_unit(torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    data = replace(dataset((1, 4, 4), "unit", levels), test=Split(x), measure=measure)
    model = Uniform() if space == "unit" else UniformLogit()
    score = likelihood_scores(model, data)["bits_per_dim"]
    assert score.value == pytest.approx(log(levels) / log(2), abs=1e-4)
    assert score.stderr == pytest.approx(0, abs=1e-4)
    assert score.unit == "bits/dim"


def test_bits_per_dim_of_a_likelihood():
    data = pyrogen.load("digits")
    scores = likelihood_scores(Gaussian.from_data(data.train.tensors()[0], jitter=1e-3), data)
    nats = scores["log_likelihood"]
    assert scores["bits_per_dim"].value == pytest.approx((log(17) - nats.value / 64) / log(2), rel=1e-5)
    assert scores["bits_per_dim"].stderr == pytest.approx(nats.stderr / 64 / log(2), rel=1e-5)
    vae = VAE(data.shape, 2, (8,), likelihood=pyrogen.explicit.DiscretizedLogisticLikelihood(17))
    bound = likelihood_scores(vae, data, k=2)
    assert (bound["log_likelihood"].kind, bound["bits_per_dim"].kind) == ("lower_bound", "upper_bound")
    assert bound["bits_per_dim"].value == pytest.approx((log(17) - bound["iwae"].value / 64) / log(2), rel=1e-4)


def test_density_is_not_mixed_with_a_mass():
    binary, unit = dataset((1, 4, 4), "binary"), dataset((1, 4, 4), "unit")
    with pytest.raises(ConfigError, match=r"density.*mass on \{0, 1\}"):
        evaluate(Uniform(), binary)
    with pytest.raises(ConfigError, match=r"density.*mass on \{0, 1\}"):
        evaluate(Gaussian((1, 4, 4)), binary)
    with pytest.raises(ConfigError, match=r"mass.*density on \[0, 1\]"):
        evaluate(VAE((1, 4, 4), 2, (8,)), unit)


def test_what_cannot_be_measured_is_named():
    with pytest.raises(ConfigError, match="cannot measure a Linear"):
        evaluate(nn.Linear(2, 2), dataset())

    class Broken(Standard):
        def sample(self, n, y=None):
            x = super().sample(n)
            x[3, 0], x[5, 1] = torch.nan, torch.inf
            return x

    with pytest.raises(ConfigError, match="2 of 1000 samples are not finite"):
        sample_scores(Broken().sample(1000), dataset())


@pytest.mark.parametrize("n", [1, 4])
def test_few_test_data_have_no_two_sample_test(n):
    data = dataset(n=(40, 5, n))
    assert evaluate(StandardDensity(), data).keys() == {"log_likelihood", "nearest_neighbour"}


def test_modes_are_scored_where_the_truth_has_them():
    toy = ring()
    data = dataset(truth=toy)
    x = toy.sample(200, torch.Generator().manual_seed(0))
    data = replace(data, train=Split(x), test=Split(x[:60]))
    scores = sample_scores(toy.sample(100, torch.Generator().manual_seed(1)), data)
    assert scores.keys() == SAMPLE_SCORES | {"modes", "high_quality", "reverse_kl"}
    assert scores["modes"].value == 8


def test_true_density_scores_minus_its_entropy():
    data = pyrogen.load("gaussian")

    class Truth:
        def log_prob(self, x, y=None):
            return data.truth.log_prob(x)

        def sample(self, n, y=None):
            return data.truth.sample(n)

    score = likelihood_scores(Truth(), data)["log_likelihood"]
    assert score.value == pytest.approx(-data.truth.entropy, abs=4 * score.stderr)
    assert score.detail["n"] == 10_000


def test_anchors_are_training_data_in_place_of_samples():
    data = dataset((1, 4, 4), "unit", 17)
    scores = anchor_scores(data)
    assert scores.keys() == SAMPLE_SCORES
    assert scores["nearest_neighbour"].detail["ratio"] == 1
    assert scores["mmd2"].detail["p_value"] > 0.01
    assert scores["c2st"].value == pytest.approx(0.5, abs=0.12)


def test_samples_are_compared_as_the_pictures_they_stand_for():
    """Within a grey level nothing counts: a sampler of bin centres is as good as one of dequantised values."""
    data = dataset((1, 4, 4), "unit", 2)
    x = data.test.x[:25]
    coarse = ((x * 2).floor().clamp(0, 1) + 0.5) / 2
    assert sample_scores(x, data) == sample_scores(coarse, data)


def test_labels_of_test_rows_go_with_side_information():
    seen = []

    class Conditional(Standard):
        def sample(self, n, y=None):
            seen.append(y)
            return super().sample(n)

    data = dataset(n=(60, 30, 30))
    draw(Conditional(), data, 10, 0)
    assert seen == [None]
    data = data.with_side(lambda x, y: x[:, :1])
    drawn = draw(Conditional(), data, 50, 0)
    assert len(drawn) == 30
    assert torch.equal(seen[1], data.test.x[:, :1])


@pytest.mark.parametrize(("n", "sizes"), [(25, [10, 10, 5]), (10, [10]), (3, [3])])
def test_chunks(n, sizes):
    counts, rows = [], []

    class Counter(Standard):
        def sample(self, n, y=None):
            counts.append(n)
            rows.append(y)
            return super().sample(n)

    y = torch.arange(n)
    assert len(in_chunks(Counter(), n, y, rows=10)) == n
    assert counts == sizes
    assert torch.equal(torch.cat(rows), y)
    with scoped_seed(0):
        assert in_chunks(Standard((1, 2)), n).shape == (n, 1, 2)


def test_bandwidth_in_one_dimension():
    samples, valid = points(10_000, 1), points(1000, 1, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.01, 1, 30))
    assert chosen == pytest.approx(best, abs=0.05)


@pytest.mark.parametrize("dims", [32, 128])
def test_bandwidth_in_many_dimensions(dims):
    samples, valid = points(1500, dims), points(300, dims, seed=1)
    chosen = float(log_density(valid, samples, best_bandwidth(valid, samples)).mean())
    best = max(float(log_density(valid, samples, h).mean()) for h in np.geomspace(0.3, 3, 80))
    assert chosen == pytest.approx(best, abs=0.1)


def test_nearest_distance_among_close_points():
    toy = pyrogen.load("ring")
    train, x = toy.train.x, toy.test.x[:300]
    exact = torch.cat(
        [
            torch.cdist(part.double(), train.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1).values
            for part in x.split(50)
        ]
    )
    assert nearest_distance(x, train).mean().item() == pytest.approx(exact.mean().item(), rel=0.01)
