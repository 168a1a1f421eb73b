"""Compilation: a function and its gradients as one graph, verified against the eager function."""

from pyrogen.compile.elbo import CompiledELBO, CompiledTrace_ELBO

__all__ = ["CompiledELBO", "CompiledTrace_ELBO"]
