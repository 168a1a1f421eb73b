"""Compiled graphs of a function with its gradients: tracing, operators, code generation."""
