"""Probes, clusters, augmentation and debiasing weights, on data whose answer is known."""

from dataclasses import replace

import pytest
import torch
from helpers import points

import pyrogen
from pyrogen import use
from pyrogen.errors import ConfigError
from pyrogen.explicit import CVAE, Gaussian
from pyrogen.nn.conditions import Label
from pyrogen.reconstruction import PCA

DIGITS = pyrogen.load("digits")


def test_a_probe_of_few_labels_and_of_all():
    model = PCA.from_data(DIGITS.train.tensors()[0], 10)
    found = {
        (p.features, p.classifier, p.labels): p.accuracy
        for p in use.probe(model, DIGITS, labels=(10, 200, None), seeds=3)
    }
    n = len(DIGITS.train)
    assert len(found) == 3 * 2 * 3
    assert found["codes", "logistic", n].value > 0.85
    assert found["codes", "logistic", 10].value < found["codes", "logistic", n].value
    assert found["codes", "neighbours", n].value == pytest.approx(found["pca", "neighbours", n].value, abs=0.02)
    low, high = found["data", "neighbours", 200].interval
    assert 0 <= low < found["data", "neighbours", 200].value < high <= 1
    with pytest.raises(ConfigError, match="each of 10 classes"):
        use.probe(model, DIGITS, labels=(5,))


def test_clusters_of_separate_groups_are_the_groups():
    y = torch.arange(300) % 3
    z = points(300, 2) * 0.1 + torch.tensor([[0.0, 0], [3, 0], [0, 3]])[y]
    for method in ("kmeans", "gaussian"):
        clusters, scores = use.cluster(z, 3, y, method=method)
        assert clusters.bincount().tolist() == [100, 100, 100]
        assert {name: score.value for name, score in scores.items()} == {
            "cluster_accuracy": 1.0,
            "ari": 1.0,
            "nmi": 1.0,
        }
    with pytest.raises(ConfigError, match="1 to 300 clusters"):
        use.cluster(z, 301)
    with pytest.raises(ConfigError, match="unknown method"):
        use.cluster(z, 3, method="means")


def test_scores_of_clusters_do_not_depend_on_their_numbers():
    y = torch.tensor([0, 0, 0, 1, 1, 2])
    scores = use.cluster_scores(torch.tensor([2, 2, 1, 0, 0, 1]), y)
    assert scores["cluster_accuracy"].value == pytest.approx(5 / 6)
    assert use.cluster_scores(torch.zeros(6).long(), y)["ari"].value == 0


def test_augmented_data_have_samples_of_every_class():
    model = CVAE(DIGITS.shape, Label(10), latent=2, hidden=(8,))
    few = use.first_per_class(DIGITS, 5)
    assert few.train.y.bincount().tolist() == [5] * 10
    both, alone = use.augment(few, model, 7), use.augment(few, model, 7, real=False)
    assert both.train.y.bincount().tolist() == [12] * 10
    assert len(alone.train) == 70
    assert both.train.tensors()[0].shape == (120, *DIGITS.shape)
    assert both.test is few.test
    again = use.augment(few, model, 7, real=False)
    assert torch.equal(again.train.x, alone.train.x)
    with pytest.raises(ConfigError, match="conditional on the 10 classes"):
        use.augment(DIGITS, Gaussian(DIGITS.shape), 5)
    with pytest.raises(ConfigError, match="fewer of"):
        use.first_per_class(DIGITS, 500)


def test_the_accuracy_of_a_classifier_trained_on_few_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("pyrogen.measure.features.classifier.EPOCHS", 3)
    score = use.classification_accuracy(use.first_per_class(DIGITS, 30))
    assert 0.2 < score.value < 1
    assert score.detail["n"] == len(DIGITS.test)


def test_rare_codes_weigh_more_and_make_the_histogram_even():
    x = torch.cat([0.5 * points(990, 1), 4 + 0.1 * points(10, 1)])
    model = PCA.from_data(x, 1)
    weights = use.debiasing_weights(model, x)
    assert weights.mean() == pytest.approx(1)
    assert weights[990:].mean() > 10 * weights[:990].mean()
    assert weights.max() <= 50.001 * weights.min()
    z = use.encode(model, x)
    assert use.evenness(z, weights) > use.evenness(z) + 0.2
    assert use.evenness(torch.linspace(0, 1, 1000)[:, None]) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(use.debiasing_weights(model, x, alpha=1), torch.ones(1000).double())
    with pytest.raises(ConfigError, match="0 < alpha <= 1"):
        use.debiasing_weights(model, x, alpha=0)
    with pytest.raises(ConfigError, match="three codes"):
        use.code_weights(z[:2])


def test_codes_that_are_usual_in_each_coordinate_and_rare_as_a_whole_weigh_more(monkeypatch):
    usual, rare = points(1960, 1), 1.5 + 0.2 * points(40, 1, seed=1)
    z = torch.cat([usual + 0.05 * points(1960, 2, seed=2), torch.cat([rare, -rare], 1)])
    for most in (10_000, 1_000):
        monkeypatch.setattr("pyrogen.use.debiasing.MOST_CODES", most)
        weights = use.code_weights(z)
        assert weights[1960:].mean() > 5


def test_equal_codes_have_equal_weights():
    torch.testing.assert_close(use.code_weights(torch.zeros(5, 2)), torch.ones(5).double())
    weights = use.code_weights(torch.cat([torch.zeros(100, 2), points(20, 2)]))
    assert bool(weights.isfinite().all() & (weights > 0).all())


def test_data_without_labels_are_refused():
    plain = replace(DIGITS, classes=())
    with pytest.raises(ConfigError, match="no labels"):
        use.probe(PCA(DIGITS.shape, 2), plain)
    with pytest.raises(ConfigError, match="no labels"):
        use.first_per_class(plain, 5)
