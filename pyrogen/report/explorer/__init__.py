"""The page on which a trained model is explored."""

from pyrogen.report.explorer.contents import Exploration, Plane, Sliders, Units
from pyrogen.report.explorer.write import write_explorer

__all__ = ["Exploration", "Plane", "Sliders", "Units", "write_explorer"]
