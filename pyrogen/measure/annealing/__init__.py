"""Annealed importance sampling of the likelihood of models with a decoder."""

from pyrogen.measure.annealing.score import Annealing, annealed_score

__all__ = ["Annealing", "annealed_score"]
