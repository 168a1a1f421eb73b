"""The loop, checkpoints, run folders, devices."""
