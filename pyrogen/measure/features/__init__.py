"""Feature spaces in which samples are scored."""

from pyrogen.measure.features.classifier import Classifier, LeNet, get_classifier
from pyrogen.measure.features.scores import feature_scores

__all__ = ["Classifier", "LeNet", "feature_scores", "get_classifier"]
