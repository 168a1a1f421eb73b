"""Feature spaces by name, a user's network, and Inception from a file; the names of scores in them."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import Inception3

import pyrogen
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.explicit import Gaussian
from pyrogen.measure import evaluate, feature_scores
from pyrogen.measure.features import Inception, check_spaces, default_spaces, space_scores
from pyrogen.measure.samples import draw_samples, reference_scores, sample_scores

IN_VALUES = {"precision", "recall", "density", "coverage", "swd", "ndb"}
IN_FEATURES = {"fid", "kid", "precision", "recall", "density", "coverage", "fld"}


@pytest.fixture(scope="module")
def digits():
    return pyrogen.load("digits")


@pytest.fixture(scope="module")
def gaussian(digits):
    return Gaussian.from_data(digits.train.tensors()[0], "diagonal", jitter=1e-3)


@pytest.fixture(scope="module")
def samples(digits, gaussian):
    return draw_samples(gaussian, digits, 300, 0)


@pytest.fixture(autouse=True)
def cache(quick_measures, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "classifiers"))


def colours(size=(3, 16, 16), labels=True):
    x = torch.rand(60, *size, generator=torch.Generator().manual_seed(0))
    split = Split(x, torch.arange(60) % 2 if labels else None)
    return Dataset("colours", split, split, split, size, Space("unit"), ("a", "b") if labels else ())


def halves(images):
    """A user's features: the mean of the upper and of the lower half."""
    return images.flatten(1).unflatten(1, (2, -1)).mean(2)


def test_scores_of_the_values(digits, samples):
    of_samples = feature_scores(samples, digits, "values")
    assert of_samples.keys() == IN_VALUES
    of_data = feature_scores(digits.valid.tensors()[0], digits, "values")
    for name in ("precision", "density", "coverage"):
        assert of_samples[name].value < 0.6 * of_data[name].value
        assert of_data[name].detail["ratio"] == pytest.approx(1, abs=0.15)
    for name in ("swd", "ndb"):
        assert of_samples[name].detail["ratio"] > 1.5 * of_data[name].detail["ratio"]
    assert of_samples["ndb"].detail["of"] == 58


def test_a_score_has_its_space_in_its_name_unless_it_is_the_usual_one(digits, samples):
    found = space_scores(samples, digits, ["values", "classifier", halves, nn.Flatten()])
    assert IN_VALUES | {"fid", "kid", "fld", "inception_score", "precision@classifier"} <= found.keys()
    assert {f"{name}@halves" for name in IN_FEATURES} <= found.keys()
    assert {f"{name}@Flatten" for name in IN_FEATURES} <= found.keys()
    assert found["precision@Flatten"].value == found["precision"].value
    assert found["fid"].value != found["fid@halves"].value


def test_equal_numbers_are_compared_where_there_are_few_test_data(digits, samples):
    few = replace(digits, test=replace(digits.test, x=digits.test.x[:50], y=digits.test.y[:50]))
    scores = feature_scores(samples, few, halves)
    assert scores["coverage"].detail["n"] == 300
    as_many = feature_scores(samples[:50], few, halves)
    assert as_many["coverage"].detail["test"] == scores["coverage"].detail["test"]
    quotients = [found["coverage"].value / found["coverage"].detail["test"] for found in (as_many, scores)]
    assert as_many["coverage"].detail["ratio"] == quotients[0]
    assert abs(scores["coverage"].detail["ratio"] - quotients[1]) > 0.02


def test_features_of_another_form_are_refused(digits, samples):
    with pytest.raises(ConfigError, match=r"the feature space 'Identity': expected features \(1000, d\), got shape"):
        feature_scores(samples, digits, nn.Identity())
    with pytest.raises(ConfigError, match=r"'<lambda>': expected features \(1000, d\), got a int"):
        feature_scores(samples, digits, lambda x: 3)
    with pytest.raises(ConfigError, match="unknown feature space 'pixel'; expected one of values, classifier, incep"):
        feature_scores(samples, digits, "pixel")


def test_a_network_is_evaluated_without_dropout_and_stays_as_it_is(digits, samples):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.9))
    first = feature_scores(samples, digits, net)
    assert net.training
    assert feature_scores(samples, digits, net) == first


def test_spaces_that_data_have(digits):
    table = pyrogen.load("ring")
    assert default_spaces(digits) == ("values", "classifier")
    assert default_spaces(table) == ("values",)
    assert default_spaces(colours(labels=False)) == ("values",)
    assert default_spaces(colours((3, 65, 16))) == ("values",)
    check_spaces(["classifier"], colours((3, 65, 16)))
    for name, words in (("classifier", "needs labelled images"), ("inception", "needs images")):
        with pytest.raises(ConfigError, match=words):
            check_spaces([name], table)
    scores = feature_scores(table.valid.tensors()[0][:500], table, "values")
    assert scores.keys() == IN_VALUES
    assert 0.8 < scores["density"].value < 1.2


def test_inception_is_not_downloaded(digits, samples, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "inception_v3_google-0cc3c7bd.pth"
    with pytest.raises(ConfigError, match="does not exist, and pyrogen downloads no weights: get it by") as refused:
        feature_scores(samples, digits, "inception")
    assert str(file) in str(refused.value)
    with pytest.raises(ConfigError, match="inception_v3_google"):
        pyrogen.compare(["gaussian"], "digits", features=["inception"], steps=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=f"{file}: expected the weights of torchvision's Inception-v3"):
        Inception()


def test_inception_from_its_file(monkeypatch, tmp_path):
    torch.manual_seed(0)
    torch.save(Inception3(init_weights=False).state_dict(), tmp_path / "weights.pth")
    inception = Inception(tmp_path / "weights.pth")
    grey = torch.rand(2, 1, 8, 8)
    found = inception(grey)
    assert found.shape == (2, 2048)
    assert not found.requires_grad
    assert torch.allclose(inception(grey.expand(-1, 3, -1, -1), rows=1), found, atol=1e-5)
    with pytest.raises(ConfigError, match="takes images"):
        inception(torch.rand(2, 4, 8, 8))


def test_evaluate_adds_what_is_asked_for(digits, gaussian):
    plain = evaluate(gaussian, digits)
    assert not {"fid", "ndb", "precision"} & plain.keys()
    more = evaluate(gaussian, digits, spaces=("values", "classifier"))
    assert {name: more[name] for name in plain} == plain
    assert IN_VALUES | {"fid", "kid", "fld", "coverage@classifier"} <= more.keys()
    with pytest.raises(ConfigError, match="unknown feature space"):
        evaluate(gaussian, digits, spaces=("pixel",))


def test_real_data_as_samples(digits):
    scores = reference_scores(digits, spaces=("values", "classifier"))
    assert "fld" not in scores
    assert scores["coverage"].detail["ratio"] == 1
    assert scores["coverage"].value == scores["coverage"].detail["test"] > 0.9
    few = replace(digits, test=replace(digits.test, x=digits.test.x[:19], y=digits.test.y[:19]))
    assert "coverage" not in reference_scores(few, spaces=("values",))
    assert "coverage" not in sample_scores(digits.valid.tensors()[0], few, spaces=("values",))


def test_a_comparison_scores_in_pixels_and_features(tmp_path):
    compare = partial(pyrogen.compare, ["gaussian"], "digits", steps=1)
    card = compare(out=tmp_path / "default")
    for entry in (card["models"]["gaussian"], card["anchors"]["gaussian"], card["anchors"]["train"]):
        assert IN_VALUES | {"fid", "kid", "precision@classifier"} <= entry["scores"].keys()
    assert "gap" in card["models"]["gaussian"]["scores"]["fld"]
    card = compare(features=["values"], out=tmp_path / "values")
    assert card["models"]["gaussian"]["scores"].keys() >= IN_VALUES
    assert "fid" not in card["models"]["gaussian"]["scores"]
