"""Data and samples as they are looked at: a grid of images, or the first rows of a table."""

from pyrogen.data.shown.show import Shown, show

__all__ = ["Shown", "show"]
