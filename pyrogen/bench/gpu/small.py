"""Options with which every recipe trains fast, for checks of all of them."""

from typing import Any

from pyrogen.recipes import RECIPES

SMALL = {
    "hidden": (16,), "width": 4, "latent": 3, "latents": (4, 2), "codes": 8, "dim": 4, "prior_width": 8, "bins": 4,
    "components": 2, "pretraining": 0, "features": 8, "k": 3,
}  # fmt: skip


def small(name: str) -> dict[str, Any]:
    """Options of the recipe ``name`` that make it train fast."""
    defaults = {key: field.default for key, field in RECIPES[name].schema.model_fields.items()}
    chosen = {key: value for key, value in SMALL.items() if key in defaults}
    if "k" in chosen and defaults["k"] == 1:
        del chosen["k"]  # another objective
    if "latents" in chosen:
        chosen["hidden"] = (16, 8)  # as many as there are layers of latent variables
    if defaults.get("layers", 0) > 2:
        chosen["layers"] = 2
    return chosen
