"""Feature spaces in which samples are scored."""

from pyrogen.measure.features.classifier import Classifier, LeNet, get_classifier
from pyrogen.measure.features.inception import Inception
from pyrogen.measure.features.scores import Reference, feature_scores, space_scores
from pyrogen.measure.features.spaces import FeatureSpace, check_spaces, default_spaces

__all__ = [
    "Classifier",
    "FeatureSpace",
    "Inception",
    "LeNet",
    "Reference",
    "check_spaces",
    "default_spaces",
    "feature_scores",
    "get_classifier",
    "space_scores",
]
