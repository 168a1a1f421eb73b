"""Compile a function and its gradients into one graph that is verified against eager execution."""

from pyrogen.compile.elbo import CompiledELBO, CompiledTrace_ELBO

__all__ = ["CompiledELBO", "CompiledTrace_ELBO"]
