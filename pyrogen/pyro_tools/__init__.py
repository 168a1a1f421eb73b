"""Tools for Pyro programs: traces, parameters, signatures and predictive sampling."""

from pyrogen.pyro_tools.predictive import predictive

__all__ = ["predictive"]
