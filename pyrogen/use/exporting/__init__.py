"""Trained models for other tools: parts as graphs that run without pyrogen, and weights with a model card."""

from pyrogen.use.exporting.card import export_weights
from pyrogen.use.exporting.graph import PARTS, export, parts
from pyrogen.use.exporting.posterior import to_arviz

__all__ = ["PARTS", "export", "export_weights", "parts", "to_arviz"]
