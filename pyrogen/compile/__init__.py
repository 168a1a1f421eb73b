"""Compilation of a function and its gradients to one graph, verified against the eager function."""

from pyrogen.compile.elbo import CompiledELBO, CompiledTrace_ELBO

__all__ = ["CompiledELBO", "CompiledTrace_ELBO"]
