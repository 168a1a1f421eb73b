"""What ``python -m pyrogen.bench gpu`` does: checks against the CPU first, then times beside their lower bounds."""
