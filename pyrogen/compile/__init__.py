"""Compilation of a function and its gradients to one graph, verified against the eager function."""

from pyrogen.compile.elbo import CompiledELBO, CompiledTrace_ELBO
from pyrogen.compile.noise import CompiledNoise

__all__ = ["CompiledELBO", "CompiledNoise", "CompiledTrace_ELBO"]
