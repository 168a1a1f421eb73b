"""The sentences of the page: main results at its head, and what its numbers can show at its end."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from pyrogen.protocols import NORMAL_QUANTILE
from pyrogen.report import formatting
from pyrogen.report.page.entries import Models
from pyrogen.report.page.scales import limits
from pyrogen.report.ranking import group_models, is_number, ranking_value

_QUESTIONS = {
    "log_likelihood": "Highest likelihood, exact or bound",
    "mmd2": "Samples closest to the data, by MMD²",
    "c2st": "Samples hardest to tell from data, by C2ST",
}


def findings(models: Models, best: Mapping[str, set[str]], order: list[str]) -> list[tuple[str, str, str]]:
    """The main results as ``(question, models, value)``, where at least two models are comparable.

    The model with the best value is named first, and the value is its own.
    """
    found = []
    for name, question in _QUESTIONS.items():
        winners = [model for model in order if model in best.get(name, ())]
        if winners:
            winners.sort(key=lambda model: ranking_value(name, models[model]["scores"][name]))
            first = models[winners[0]]["scores"][name]
            value, margin = formatting.value_and_margin(first)
            kind = {"exact": "exactly ", "lower_bound": "at least "}.get(first["kind"], "")
            note = " ".join(filter(None, (f"{kind}{value}", margin, formatting.score_unit(first))))
            if len(winners) > 1:
                note = f"{winners[0]}: {note}; the others are within the error of the difference"
            found.append((question, ", ".join(winners), note))
    failed = [model for model in order if models[model].get("error")]
    if failed:
        found.append(("Did not finish", ", ".join(failed), "see the scorecard for the reason"))
    return found


def closing(card: Mapping[str, Any]) -> list[str]:
    """About six sentences on what the numbers of this scorecard show, and what they cannot."""
    models = card["models"]
    sentences = [_sizes(card), *_likelihoods(models), *_samples(models), *_verdicts(models), _runs(card)]
    return [sentence for sentence in sentences if sentence]


def _sizes(card: Mapping[str, Any]) -> str:
    n = card["split"].get("test")
    sizes = [_rows(m["scores"]) for m in card["models"].values()]
    sizes = [size for size in sizes if size]
    if not n:
        return ""
    text = f"Every score is about the {formatting.format_count(n)} test data of {card['data']} alone"
    if sizes:
        text += f", and MMD² compares at most {formatting.format_count(max(sizes))} samples with them"
    return text + "; the intervals say how much other data of the same kind would change it."


def _rows(scores: Mapping[str, Any]) -> int:
    """The number of samples that MMD² compares with data; 0 if it is not measured."""
    return int(scores.get("mmd2", {}).get("n") or 0)


def _likelihoods(models: Models) -> list[str]:
    grouped = group_models(models)
    kinds: dict[str, list[str]] = {}
    for name in grouped["known"]:
        kinds.setdefault(models[name]["scores"]["log_likelihood"]["kind"], []).append(name)
    sentences = []
    if "exact" in kinds:
        sentences.append(f"The likelihood of {_list(kinds['exact'])} is exact.")
    if "lower_bound" in kinds:
        sentences.append(
            f"That of {_list(kinds['lower_bound'])} is a lower bound, by an unknown distance: such a model may be "
            "better than its number, so a bound below another model's value decides nothing."
        )
    if "upper_bound" in kinds:
        sentences.append(f"That of {_list(kinds['upper_bound'])} is an upper bound, which may flatter the model.")
    if grouped["conditional"]:
        sentences.append(
            f"That of {_list(grouped['conditional'])} is conditional, so it is not compared with log p(x), nor ranked."
        )
    annealed = [name for name in grouped["unknown"] if "ais" in models[name]["scores"]]
    others = [name for name in grouped["unknown"] if name not in annealed]
    if annealed:
        sentences.append(
            f"For {_list(annealed)} there is no likelihood without added noise; with it, annealed importance sampling "
            "gives a lower bound, and the kernel estimate may be far from it on either side."
        )
    if others:
        sentences.append(
            f"For {_list(others)} there is no likelihood, and a kernel estimate does not replace it: "
            "whether such a model gives probability to all data is judged by its samples alone."
        )
    return [" ".join(sentences)] if sentences else []


def _samples(models: Models) -> list[str]:
    scores = [model["scores"]["mmd2"] for model in models.values() if _rows(model["scores"])]
    halves = [(high - low) / 2 for low, high in (limits(s, NORMAL_QUANTILE) for s in scores if is_number(s["value"]))]
    halves = [half for half in halves if half > 0]
    sentences = []
    if halves:
        n, half = formatting.format_count(max(s["n"] for s in scores)), f"{median(halves):.2g}"
        sentences.append(
            f"At this size, n = {n}, MMD² is known to about ± {half}: smaller differences, a fault in a few samples "
            "in a hundred, or fine detail do not show in it."
        )
    if any("c2st" in model["scores"] for model in models.values()):
        sentences.append(
            "A C2ST at chance means that one classifier found no difference, not that there is none, and neither it "
            "nor MMD² notices copies of training data."
        )
    return sentences


def _verdicts(models: Models) -> list[str]:
    verdicts = [model["verdict"] for model in models.values() if model.get("verdict")]
    if not verdicts:
        return []
    limits = verdicts[0].get("limits")
    return [
        "A verdict names the kinds of fault that its tests found; faults too small for samples of this size, or of "
        f"another kind, remain possible{f': {limits}' if limits else ''}."
    ]


def _runs(card: Mapping[str, Any]) -> str:
    seeds = len(card["budget"].get("seeds", [0]))
    once = (
        "Each model was trained once, and the intervals do not hold the differences between training runs"
        if seeds == 1
        else f"Each model was trained {seeds} times, and so few runs give a rough error of the differences between them"
    )
    return f"{once}: the numbers are of these runs with this budget and these settings, not of families of models."


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
