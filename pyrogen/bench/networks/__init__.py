"""The models that the benchmarks train, and their losses written by hand."""
