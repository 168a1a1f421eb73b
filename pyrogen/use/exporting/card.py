"""Weights as safetensors with a model card and a configuration, in the layout that model hubs read."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_model
from torch import nn

from pyrogen.errors import ConfigError, printable
from pyrogen.files import read_regular, whole_folder
from pyrogen.recipes import recipe
from pyrogen.report.templates import installed_version
from pyrogen.training.opened import Opened

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def export_weights(opened: Opened, folder: str | Path) -> Path:
    """Write the weights that a run ended with, and what they are, to a new folder.

    ``model.safetensors`` has the tensors by their names in ``model.state_dict()``, a tensor of several names once;
    ``config.json`` the recipe, its options and the description of the data; ``README.md`` the model card, whose scores
    are those of the run's ``scores.json``, if it has been evaluated.

    Args:
        opened: the run.
        folder: the folder, which must be empty or absent.

    Raises:
        RunError: if it is not empty, or cannot be written.
        ConfigError: if the model has no weights.
    """
    model: nn.Module = opened.model
    if not model.state_dict():
        raise ConfigError(f"a {type(model).__name__} has no weights to export")
    needed = sum(tensor.nbytes for tensor in model.state_dict().values())
    with whole_folder(folder, needed) as part:
        save_model(model, str(part / WEIGHTS), metadata={"format": "pt", "library": "pyrogen"})
        (part / CONFIG).write_text(json.dumps(_configuration(opened), indent=1), encoding="utf-8")
        (part / CARD).write_text(_card(opened), encoding="utf-8")
    return Path(folder)


def _configuration(opened: Opened) -> dict[str, Any]:
    """What is needed to build the model that the weights are of."""
    config = opened.config
    return {
        "library": "pyrogen",
        "version": installed_version(),
        "model": config.model,
        "options": config.options,
        "data": opened.description.to_json(),
        "weights": dict(opened.weights),
    }


def _card(opened: Opened) -> str:
    """The model card: metadata between lines of dashes, in the JSON that YAML is a superset of, and a text."""
    config, known = opened.config, opened.description
    entry, data = recipe(config.model), printable(known.name)
    is_image = len(known.shape) == 3
    scores = _scores(opened.path / "scores.json")
    head: dict[str, Any] = {
        "library_name": "pyrogen",
        "tags": ["pyro", "pytorch", "deep-generative-model", config.model, entry.family],
        **({"pipeline_tag": "unconditional-image-generation"} if is_image else {}),
    }
    if scores:
        metrics = [{"type": name, "value": score["value"], "name": name} for name, score in scores.items()]
        result = {"task": {"type": "other"}, "dataset": {"name": data, "type": "other"}, "metrics": metrics}
        head["model-index"] = [{"name": f"{config.model} on {data}", "results": [result]}]
    lines = [f"{name}: {json.dumps(value)}" for name, value in head.items()]
    options = "\n".join(f"| {name} | {value} |" for name, value in config.options.items())
    table = "\n".join(
        f"| {name} | {s['value']:.6g} | {s['stderr']:.2g} | {s['kind'].replace('_', ' ')} | {s['unit']} |"
        for name, s in scores.items()
    )
    measured = f"\n## Scores on test data\n\n| score | value | ± | kind | unit |\n|---|---|---|---|---|\n{table}\n"
    return f"""---
{chr(10).join(lines)}
---

# {config.model} on {data}

{entry.title}: a model of {data}, {known.space}, trained by pyrogen {installed_version()} for {opened.t:,} steps.
`{WEIGHTS}` has the weights ({opened.weights["rule"]}), and `{CONFIG}` what is needed to build their model.

| option | value |
|---|---|
{options}
{measured if scores else ""}"""


def _scores(path: Path) -> dict[str, Any]:
    """The scores of an evaluated run; none if it was not evaluated."""
    if not path.exists():
        return {}
    scores: dict[str, Any] = json.loads(read_regular(path))["scores"]
    return scores
