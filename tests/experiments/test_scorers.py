"""What each experiment measures, on models whose score is known, and what it concludes from scores."""

import re

import pytest
import quick
import torch

import pyrogen
from pyrogen.comparison.paired import mean_of_differences
from pyrogen.experiments import EXPERIMENTS
from pyrogen.experiments.arms import auto_sizes
from pyrogen.experiments.findings import difference_sentence, ordered_sentence
from pyrogen.experiments.lines import contests, histogram_divergence
from pyrogen.experiments.plots import lines_svg
from pyrogen.explicit import KernelDensity
from pyrogen.pyro_tools.decoders import as_decoder
from pyrogen.random import scoped_seed
from pyrogen.recipes import recipe


class Draws(torch.nn.Module):
    """A sampler of given points in the user's units, with its log-density if it is known."""

    def __init__(self, draw, space):
        super().__init__()
        self.draw, self.space = draw, space

    def sample(self, n, y=None):
        return self.space.standardise(self.draw(n))


class Known(Draws):
    def __init__(self, truth, space):
        super().__init__(truth.sample, space)
        self.truth = truth

    def log_prob(self, z, y=None):
        return self.truth.log_prob(self.space.unstandardise(z)) - self.space.log_det


def scores(name, data, model, part=None, **options):
    plan = EXPERIMENTS[name](data, **options)
    return plan.scorer(data, part or data, 0)(model, part or data)["scores"]


@pytest.mark.parametrize("toy", ["line", "grid"])
def test_the_truth_has_no_divergence_and_the_distance_of_draws(toy):
    data = pyrogen.load(toy)
    found = scores("lines", data, Known(data.truth, data.space), models=("mixture",))
    assert found["kl"].kind == "exact"
    assert found["kl"].value == pytest.approx(0, abs=1e-4)
    assert found["modes"].value == len(data.truth.modes)
    assert found["w1"].value < {"line": 0.1, "grid": 0.5}[toy]
    shifted = Draws(lambda n: data.truth.sample(n) + torch.tensor([3.0] + [4.0] * (data.dims - 1)), data.space)
    far = scores("lines", data, shifted, models=("mixture",))
    assert far["w1"].value == pytest.approx({"line": 3, "grid": 5}[toy], rel=0.1)
    assert "kl" not in far
    assert ("histogram_kl" in far) == (toy == "line")
    if toy == "line":
        assert found["histogram_kl"].value < 0.02 < 1 < far["histogram_kl"].value


def test_the_divergence_of_a_histogram():
    p, q = torch.randn(200_000, 1), 1 + torch.randn(200_000, 1)
    assert histogram_divergence(q, p).value == pytest.approx(0.5, abs=0.03)  # KL of two unit normals, one apart
    assert histogram_divergence(torch.randn(200_000, 1), p).value < 1e-3
    assert histogram_divergence(q, p).kind == "estimate"


def card(w1, seconds):
    """Results of two seeds for arms called ``recipe-steps``."""
    arms = {
        name: {
            "recipe": name.rpartition("-")[0],
            "line": name.rpartition("-")[0],
            "at": int(name.rpartition("-")[2]),
            "scores": {"w1": {"value": sum(values) / len(values), "unit": "data"}},
            "train_seconds": seconds[name],
        }
        for name, values in w1.items()
    }
    by_seed = {name: {"w1": values} for name, values in w1.items()}
    return {
        "arms": arms,
        "by_seed": by_seed,
        "seeds": [0, 1, 2],
        "anchors": {"truth": {"scores": {"w1": {"value": 0}}}},
    }


def test_a_game_is_compared_with_every_flow_at_its_own_time():
    w1 = {
        "gan-10": [9.0, 9.1, 9.0],
        "gan-100": [1.0, 1.1, 0.9],
        "maf-10": [0.5, 0.6, 0.4],
        "maf-100": [0.1, 0.2, 0.1],
        "spline-10": [1.0, 1.05, 0.9],
    }
    seconds = {"gan-10": 1, "gan-100": 10, "maf-10": 1, "maf-100": 100, "spline-10": 3}
    (first, second) = contests(card(w1, seconds))
    assert [(pair.game, pair.flow) for pair in (first, second)] == [("gan", "maf"), ("gan", "spline")]
    middle = [(a * b) ** 0.5 for a, b in zip(w1["maf-10"], w1["maf-100"], strict=True)]  # half way, in logarithms
    difference, _, alone = mean_of_differences([a - b for a, b in zip(w1["gan-100"], middle, strict=True)])
    assert first.difference == pytest.approx(difference)
    assert first.p_value == pytest.approx(2 * alone)
    last = mean_of_differences([a - b for a, b in zip(w1["gan-100"], w1["spline-10"], strict=True)])
    assert (second.difference, second.p_value) == (pytest.approx(last[0]), pytest.approx(max(last[2], 2 * alone)))


def test_the_conclusion_follows_the_distances():
    plan = EXPERIMENTS["lines"](pyrogen.load("line"))
    seconds = {"gan-10": 2, "maf-10": 1}
    far, near = [2.0, 2.1, 2.05], [1.0, 1.1, 1.04]
    loses = plan.findings(card({"gan-10": far, "maf-10": near}, seconds))
    assert loses[0] == "At equal time no game is nearer to the truth than a flow."
    assert loses[2].startswith("W₁: the nearest game is gan-10 with 2.05, the nearest flow is maf-10 with 1.05")
    wins = plan.findings(card({"gan-10": near, "maf-10": far}, seconds))
    assert wins[0] == "At equal time a game is nearer to the truth than a flow: gan than maf by 1."
    assert wins[1].startswith("Of 1 pairs")
    fast = plan.findings(card({"gan-10": far, "maf-10": near}, {"gan-10": 1, "maf-10": 2}))
    assert fast[0].startswith("No game and flow to compare at equal time")


def test_all_recipes_that_take_the_data():
    found = {arm.line for arm in EXPERIMENTS["lines"](pyrogen.load("line"), models="all", steps=5).arms}
    assert {"mixture", "maf", "spline", "vae", "gan", "wgan-gp", "kde", "aae"} <= found
    assert not {"realnvp", "dcgan", "vqvae", "cvae", "pca"} & found  # of images, by label, no samples


def test_a_batch_is_no_larger_than_the_data():
    plan = EXPERIMENTS["lines"](pyrogen.load("line"), rows=100, batch_size=256)
    assert {(arm.rows, arm.options["batch_size"]) for arm in plan.arms} == {(100, 100)}


def test_copies_are_found_and_the_gap_is_that_of_likelihoods():
    data = pyrogen.load("digits")
    part = pyrogen.experiments.run.training_part(data, 100, 0)
    rows = part.train.tensors(0)[0]
    copier = KernelDensity(rows, 1e-3)
    found = scores("memory", data, copier, part)
    assert found["copies"].value == 1
    assert found["c_t"].value < -3
    train, test = (pyrogen.evaluate(copier, split)["log_likelihood"].value for split in (part.train, part.test))
    assert found["generalisation_gap"].value == pytest.approx(train - test)
    assert found["generalisation_gap"].value > 100
    real = Draws(lambda n: data.test.x[torch.randperm(len(data.test))[:n].repeat(3)[:n]], data.space)
    honest = scores("memory", data, real, part)
    assert "generalisation_gap" not in honest
    assert honest["c_t"].value > found["c_t"].value


@pytest.mark.parametrize(("toy", "kept"), [("grid", 3), ("line", 2)])
def test_known_modes_are_counted(toy, kept):
    data = pyrogen.load(toy)
    some = data.truth.modes[:kept]
    model = Draws(lambda n: some[torch.arange(n) % kept] + 0.01 * torch.randn(n, data.dims), data.space)
    found = scores("modes", data, model)
    assert (found["modes"].value, found["modes"].detail["of"]) == (kept, len(data.truth.modes))
    assert found["coverage"].value < 0.7


def test_classes_of_images_are_their_modes(monkeypatch):
    monkeypatch.setattr("pyrogen.measure.features.classifier.EPOCHS", 12)
    data = pyrogen.load("digits")
    x, y = data.train.tensors(0)
    odd = x[y % 2 == 1]
    found = scores("modes", data, Draws(lambda n: odd[torch.randint(len(odd), (n,))], data.space))
    assert 5 <= found["modes"].value < 10
    assert found["reverse_kl"].value == pytest.approx(0.69, abs=0.2)  # half of the classes: log 2


@pytest.mark.parametrize(("n", "sizes"), [(50_000, (100, 2236, 50_000)), (1167, (100, 342, 1167)), (80, (80,))])
def test_sizes_from_100_to_all(n, sizes):
    assert auto_sizes(n) == sizes


def test_sentences_name_the_better_model_if_the_difference_is_sure():
    def one(value):
        return {"scores": {"mmd2": {"value": value, "unit": "mmd2", "kind": "estimate"}}}

    by_seed = {name: {"mmd2": values} for name, values in {"a": [0.1, 0.1], "b": [0.3, 0.3], "c": [0.2, 0.4]}.items()}
    results = {
        "by_seed": by_seed,
        "arms": {"a": one(0.1), "b": one(0.3), "c": one(0.31)},
        "comparisons": {
            "mmd2": [
                {"models": ["a", "b"], "difference": -0.2, "adjusted_p_value": 0.004},
                {"models": ["b", "c"], "difference": -0.01, "adjusted_p_value": 0.6},
            ]
        },
    }
    assert difference_sentence(results, "mmd2", "b", "a").endswith(
        "a difference of 0.2 (p = 0.004): a is better on each of 2 seeds."
    )
    assert difference_sentence(results, "mmd2", "b", "c").endswith("(p = 0.6): no significant difference.")
    assert "needs several seeds" in difference_sentence(results, "mmd2", "a", "c")
    assert "not measured" in difference_sentence(results, "fid", "a", "b")
    assert ordered_sentence(results, "mmd2") == "Order by MMD², best first: a < b ≈ c."


def test_a_decoder_is_judged_alone_with_the_prior_of_its_codes():
    data = pyrogen.load("digits")
    plan = EXPERIMENTS["same-decoder"](data, latent=2, hidden=8)
    scorer, shapes = plan.scorer(data, data, 0), set()
    for arm in plan.arms:
        with scoped_seed(0):
            model = recipe(arm.recipe)(data, **arm.options).model
        decoded = scorer.decoded(model, data)
        z = decoded.base.sample(2000)
        assert as_decoder(decoded, data.test.x).size == 2
        codes = model.encode(data.train.tensors(0)[0]) if arm.recipe == "autoencoder" else torch.randn(2000, 2)
        torch.testing.assert_close(z.mean(0), codes.mean(0), atol=0.15, rtol=0.1)
        torch.testing.assert_close(z.T.cov(), codes.T.cov(), atol=0.15, rtol=0.2)
        assert decoded.sample(3).shape == (3, 1, 8, 8)
        network = model.generator.decoder if arm.recipe == "gmmn" else model.decoder
        shapes.add(tuple((type(layer), getattr(layer, "out_features", None)) for layer in network.modules()))
    assert len(shapes) == 1  # one network


def test_the_bound_by_annealing_is_beside_the_scores_of_samples(monkeypatch):
    quick.measures(monkeypatch.setattr)
    data = pyrogen.load("digits")
    plan = EXPERIMENTS["same-decoder"](data, latent=2, hidden=8, judged=10, gap=50, minutes=1e-3)
    with scoped_seed(0):
        model = recipe("gmmn")(data, latent=2, hidden=8).model
    entry = plan.scorer(data, data, 0)(model, data)
    assert set(plan.columns) <= set(entry["scores"])
    bound = entry["scores"]["ais"]
    assert bound.kind == "lower_bound"
    assert "of" not in bound.detail  # of x, and so ranked
    assert entry["scores"]["noise"].value == bound.detail["noise"] > 0


def test_a_short_logarithmic_axis_has_several_ticks():
    points = {"flow": [(300, {"value": 2.7, "stderr": 0.1}), (1000, {"value": 0.6, "stderr": 0.1})]}
    svg = lines_svg(points, "steps", "W₁", log_y=True)
    ticks = [text.strip() for text in re.findall(r"<!-- ([^<>]+?) -->", svg)]
    assert {"500", "1,000", "1", "2"} <= set(ticks)
