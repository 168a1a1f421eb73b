"""What the judge of digits is worth, trained in full: minutes, so marked slow.

PYROGEN_DATA=… pytest tests/published/test_games.py -m slow -n 0
"""

import pytest

import pyrogen
from pyrogen.measure.features import classifier, feature_scores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_the_judge_of_digits(tmp_path, mnist_root):
    data = pyrogen.load("mnist", mnist_root)
    judge = classifier(data, tmp_path)
    test = feature_scores(data.test.tensors()[0], data, judge)
    print(f"right on {judge.accuracy:.2%}", {name: round(score.value, 3) for name, score in test.items()})
    assert judge.accuracy >= 0.99
    assert test["fid"].value < 3  # the distance of real data, which samples are set against
    assert test["inception_score"].value > 9.7
