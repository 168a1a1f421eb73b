"""``pyrogen evaluate``: the scores of a trained model."""

import json
from typing import Annotated

import typer

from pyrogen.cli.arguments import Annealed, Features, Folder, Gap, Json, Minutes, Root, Seed, data_names
from pyrogen.cli.tables import score_table, show
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole


def evaluate(
    folder: Folder,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Another data set of the same shape and space.", autocompletion=data_names),
    ] = None,
    data_root: Root = None,
    k: Annotated[int, typer.Option("--k", min=1, max=10**6, help="Importance samples per datum.")] = 100,
    seed: Seed = 0,
    features: Features = None,
    ais: Annealed = False,
    gap: Gap = None,
    minutes: Minutes = None,
    as_json: Json = False,
) -> None:
    """Evaluate a trained model on test data and write scores.json."""
    from pyrogen.cli.progress import annealing_settings
    from pyrogen.measure.evaluate import evaluate_run
    from pyrogen.training.opened import open

    if (gap, minutes) != (None, None) and not ais:
        raise ConfigError("--gap and --minutes are settings of --ais: give --ais as well")
    opened = open(folder, data_root=data_root)
    annealing = annealing_settings(folder / "ais", gap, minutes) if ais else None
    result = evaluate_run(opened, data, k=k, seed=seed, spaces=features or (), annealing=annealing)
    write_whole(folder / "scores.json", json.dumps(result, indent=1).encode())
    if as_json:
        print(json.dumps(result))
    else:
        title = f"{result['model']} on {result['data']}, {result['n']:,} test data"
        show(score_table(result["scores"], title))
