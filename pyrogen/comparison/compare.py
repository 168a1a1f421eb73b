"""Train several models on one data set with the same budget, and write one scorecard."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyrogen.comparison.anchors import anchors
from pyrogen.comparison.config import ComparisonConfig, prepare
from pyrogen.comparison.models import ModelSpec
from pyrogen.comparison.page import data_pictures
from pyrogen.comparison.paired import paired_differences
from pyrogen.comparison.progress import Progress, Show, announce
from pyrogen.comparison.results import Own, Results
from pyrogen.comparison.scores_file import scores_csv
from pyrogen.comparison.scoring import Scorer
from pyrogen.comparison.sharing import own_device, processes, share_out
from pyrogen.data.dataset import Dataset
from pyrogen.errors import ConfigError
from pyrogen.files import write_whole
from pyrogen.report.cards import Card
from pyrogen.report.page import write_report
from pyrogen.training.monitoring.display import Display
from pyrogen.training.monitoring.logs import Log, check_log
from pyrogen.training.resume import with_data
from pyrogen.training.run import Run


def compare(
    models: Sequence[str | Path] | None = None,
    data: Any = None,
    *,
    own: Own | None = None,
    show: Show | None = None,
    progress: bool = False,
    log: Log | None = None,
    **settings: Any,
) -> Card:
    """Train ``models`` by their recipes, evaluate them, run folders and the models in ``own``, and write the report.

    Args:
        models: recipes with settings, such as ``"vae"`` and ``"vae:latent=8:hidden=64,32"``, and run folders, which
            are evaluated without training; ``DEFAULT_MODELS`` by default, none if ``own`` is given.
        data: the name or path of a data set, or data in memory as for ``load``: they are stored in the folder, so that
            its runs can be continued, sampled and evaluated later. By default those of the first run folder, with its
            seed, or ``digits``.
        own: trained models or ``SVI`` steps by name; they are evaluated without training, on the test data of every
            seed. With several seeds, a model of each split in their order: ``{"mine": [model0, model1]}``; one model
            for all where no split has test data that it was trained on.
        show: a display of one's own of each activity, the training and the scores of each model.
        progress: whether progress is shown: a line on a terminal, a display in a notebook.
        log: of every model that is trained, as for ``train``: ``"tensorboard"``, ``"mlflow"`` or a function of a row.
        settings: as for ``prepare``: ``out``, the budget of each model as one of ``steps``, ``seconds`` and
            ``examples``, ``batch_size``, ``seeds``, ``features``, ``ais``, ``seed``, ``data_root``, ``device``,
            ``target``, ``categorical``, ``drop_constant``, ``drop_missing``, ``size``.

    Returns:
        The scorecard, as in ``scores.json``, and ``folder``, the folder of ``scores.json``, ``scores.csv`` and
        ``report.html``.

    Raises:
        UserError: before training starts, if a setting, a model or the data are invalid, if a run folder is of other
            data, or if an own model was trained on test data.
    """
    chosen = () if models is None and own else models
    shown = Display() if progress and show is None else show
    check_log(log)
    return run_comparison(prepare(chosen, data, own=tuple(own or ()), **settings), own=own, show=shown, log=log)


def run_comparison(
    run: Run[ComparisonConfig],
    *,
    own: Own | None = None,
    show: Show | None = None,
    changed_data: bool = False,
    log: Log | None = None,
) -> Card:
    """Run the comparison that ``run.config`` describes, or continue it after an interruption.

    It goes on within the model it was at; models that were scored on the same data are not scored again.

    Args:
        run: its folder.
        own, show, log: as for ``compare``.
        changed_data: go on although the data are not those that the comparison began with.

    Raises:
        DataError: if the data have changed.
    """
    config = run.config
    missing = set(config.own) - set(own or ())
    if missing:
        raise ConfigError(f"own model {sorted(missing)[0]!r} is not stored in the folder: pass it with compare(own=…)")
    announce(show, f"{config.plan} → {run.path}")
    sets = {seed: config.load_data(seed) for seed in config.all_seeds}
    with run.lock():
        run.update(with_data(run, config, sets[config.seed], changed_data))
        results = _results(run, sets, len(own or ()), show, changed_data, log)
        # What is trained already comes first, so that an error in it is raised before any training.
        for name, model in (own or {}).items():
            results.add_own(name, model)
        specs = _in_order(config)
        if processes() > 1:
            share_out(results, specs)
        for spec in specs:
            results.add(spec)
        progress, scorers = results.progress, results.scorers
        with progress.anchors():
            found = anchors(run.path, config, scorers, results.overlap)
        return _write(run, results, found, scorers[config.seed].data)


def help_comparison(run: Run[ComparisonConfig], changed_data: bool = False, log: Log | None = None) -> None:
    """Train and score models of a comparison that the first of several processes runs; arguments as for it.

    Raises:
        RunError: if the file system has no locks.
    """
    config = run.config
    sets = {seed: config.load_data(seed) for seed in config.all_seeds}
    share_out(_results(run, sets, 0, None, changed_data, log), _in_order(config))


def _results(
    run: Run[ComparisonConfig],
    sets: Mapping[int, Dataset],
    own: int,
    show: Show | None,
    changed_data: bool,
    log: Log | None,
) -> Results:
    """The results of a comparison, none of which is known yet."""
    config = run.config
    device = own_device(config.device)
    scorers = {
        seed: Scorer(data.to(device), seed, config.spaces(data), config.annealing(data)) for seed, data in sets.items()
    }
    return Results(run, scorers, Progress(show, own + len(config.specs), config.seeds, processes()), changed_data, log)


def _in_order(config: ComparisonConfig) -> list[ModelSpec]:
    """The models, run folders before those that are to be trained."""
    return sorted(config.specs, key=lambda spec: spec.recipe is not None)


def _write(run: Run[ComparisonConfig], results: Results, found: dict[str, Any], data: Dataset) -> Card:
    """Write ``scores.json``, ``scores.csv`` and ``report.html``; return the scorecard."""
    config = run.config
    order = [*config.own, *(spec.name for spec in config.specs)]
    trained = any(spec.recipe is not None for spec in config.specs)
    card = {
        "data": config.data,
        "space": str(data.space),
        "split": {part: len(getattr(data, part)) for part in ("train", "valid", "test")},
        "budget": {
            **({**config.budget, "batch_size": config.batch_size} if trained else {}),
            "seeds": list(config.all_seeds),
        },
        "models": {name: results.entries[name] for name in order},
        "comparisons": paired_differences(results.measured, results.overlap),
        "anchors": found,
    }
    write_whole(run.path / "scores.json", json.dumps(card, indent=1).encode())
    write_whole(run.path / "scores.csv", scores_csv(card))
    settings = config.model_dump() | {"options": results.options}
    path, columns = run.path / "report.html", data.space.columns
    write_report(path, card, results.shown, data_pictures(data), results.curves, settings, columns)
    return Card(card, folder=str(run.path))
