"""Optimiser updates as the last part of a compiled step."""
