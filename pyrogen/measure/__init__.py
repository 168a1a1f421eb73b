"""Measures: one file each, from a model or its samples to a ``Score``."""
