"""Annealed importance sampling of the likelihood of models with a decoder."""

from pyrogen.measure.annealing.score import Annealing, annealed_score
from pyrogen.measure.annealing.smoothed import common_noise, smoothed_score

__all__ = ["Annealing", "annealed_score", "common_noise", "smoothed_score"]
