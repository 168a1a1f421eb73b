"""Tools for Pyro programs: traces, parameters, signatures, predictive sampling."""

from pyrogen.pyro_tools.predictive import predictive

__all__ = ["predictive"]
