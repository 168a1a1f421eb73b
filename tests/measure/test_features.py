"""The digit classifier: training, caching, and retraining after the cache was damaged."""

from dataclasses import replace

import pytest
import torch

import pyrogen
from pyrogen.data.dataset import Dataset, Split
from pyrogen.data.space import Space
from pyrogen.errors import ConfigError
from pyrogen.measure.features import classifier as features
from pyrogen.measure.features import feature_scores


@pytest.fixture
def bars(monkeypatch):
    """Ten classes of images that differ in the position of a bright bar."""
    monkeypatch.setattr(features, "BATCH_SIZE", 50)
    y = torch.arange(200) % 10
    x = 0.2 * torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for i, label in enumerate(y.tolist()):
        x[i, :, :, 2 * label + 3 : 2 * label + 5] += 0.7
    split = Split(x, y)
    return Dataset("bars", split, split, split, (1, 28, 28), Space("unit"), tuple("0123456789"))


def test_the_classifier_learns_and_is_cached(bars, tmp_path, monkeypatch):
    first = features.get_classifier(bars, tmp_path, steps=20)
    assert first.accuracy > 0.95
    images = bars.test.x[:50]
    found, log_prob = first(images)
    assert found.shape == (50, 128)
    assert torch.allclose(log_prob.exp().sum(1), torch.ones(50), atol=1e-5)
    assert torch.allclose(found, first(images, rows=7)[0], atol=1e-5)

    (file,) = tmp_path.iterdir()
    trained = []
    train = features._train
    monkeypatch.setattr(features, "_train", lambda *a: trained.append(1) or train(*a))
    again = features.get_classifier(bars, tmp_path, steps=20)
    assert not trained
    assert torch.equal(again(images)[0], found)
    assert again.accuracy == first.accuracy

    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    file.write_bytes(content)
    assert torch.equal(features.get_classifier(bars, tmp_path, steps=20)(images)[0], found)
    assert trained
    assert torch.equal(features.get_classifier(bars, tmp_path, steps=20)(images)[0], found)
    assert len(trained) == 1  # the damaged file was replaced


def test_a_data_set_with_further_tensors(bars, tmp_path):
    split = replace(bars.train, more=(torch.rand(200),))
    weighted = replace(bars, train=split, valid=split, test=split)
    assert features.get_classifier(weighted, tmp_path, steps=20).accuracy > 0.95


def test_labels_train_it_and_test_rows_do_not(bars, tmp_path):
    first = features.get_classifier(bars, tmp_path, steps=20)
    images = bars.test.x[:50]
    other_test = replace(bars, test=replace(bars.test, x=1 - bars.test.x))
    assert torch.equal(features.get_classifier(other_test, tmp_path / "other", steps=20)(images)[0], first(images)[0])
    partial = bars.with_side_information(lambda x, y: x)
    assert torch.equal(features.get_classifier(partial, tmp_path, steps=20)(images)[0], first(images)[0])
    relabelled = replace(bars, train=replace(bars.train, y=bars.train.y.roll(1)))
    assert not torch.equal(features.get_classifier(relabelled, tmp_path, steps=20)(images)[0], first(images)[0])
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_it_is_trained_within_evaluation_and_without_a_writable_cache(bars, tmp_path):
    (tmp_path / "file").touch()
    with torch.no_grad():
        assert features.get_classifier(bars, tmp_path / "file", steps=20).accuracy > 0.95


def test_by_default_it_is_kept_in_the_cache_of_the_user(bars, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_train", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    features.get_classifier(bars, steps=7)
    (path,) = (tmp_path / "cache" / "pyrogen").iterdir()
    name, of, rows, steps = path.stem.split("-")
    assert (name, of, len(rows), steps, path.suffix) == ("lenet", "bars", 16, "7", ".safetensors")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    features.get_classifier(bars, steps=7)
    assert (tmp_path / ".cache" / "pyrogen" / path.name).exists()


def test_labelled_images_of_any_size(tmp_path):
    digits = pyrogen.load("digits")
    classifier = features.get_classifier(digits, tmp_path, steps=150)
    assert classifier.accuracy > 0.9
    assert classifier(digits.test.x[:5].float() / 16)[0].shape == (5, 128)
    with pytest.raises(ConfigError, match="labelled images"):
        features.get_classifier(pyrogen.load("ring"), tmp_path)


def test_feature_scores_with_those_of_test_data(bars, tmp_path):
    classifier = features.get_classifier(bars, tmp_path, steps=20)
    copies = feature_scores(bars.test.x, bars, classifier)
    names = {"fid", "kid", "inception_score", "precision", "recall", "density", "coverage", "fld"}
    assert copies.keys() == names
    assert copies["fid"].value == pytest.approx(0, abs=1e-4)
    assert copies["fid"].detail["test"] == copies["fid"].value
    assert copies["inception_score"].detail["ratio"] == pytest.approx(1)
    one_class = bars.test.x[bars.test.y == 3].repeat(10, 1, 1, 1)
    lost = feature_scores(one_class, bars, classifier)
    assert lost["fid"].value > 10 * max(copies["fid"].value, 1e-2)
    assert lost["inception_score"].value < 0.5 * copies["inception_score"].value
    assert lost["recall"].value < 0.5
