"""Commands that use a trained model, as ``pyrogen.use`` does: one file for each group of them."""
