"""Sentences about results: the difference of two models by a score, and the order of all by one."""

from itertools import pairwise
from math import isfinite
from typing import Any

from pyrogen.experiments.registry import Card
from pyrogen.report.formatting import format_number, format_p_value, score_title
from pyrogen.report.ranking import SIGNIFICANT, ranking_value


def difference_sentence(card: Card, name: str, first: str, second: str) -> str:
    """How much a score of two models differs on average, and whether more than by chance.

    Where values are far apart but vary as much, a test by their mean does not tell; that one model is better on each
    seed is therefore said too.
    """
    a, b = (card["arms"][arm]["scores"].get(name) for arm in (first, second))
    if a is None or b is None:
        return f"{score_title(name)} of {first} and {second}: not measured."
    unit = "" if a["unit"] == name else f" {a['unit']}"
    text = f"{score_title(name)}: {first} {format_number(a['value'])}, {second} {format_number(b['value'])}{unit}"
    found = paired(card, name, first, second)
    if found is None:
        return f"{text} (no test: it needs several seeds)."
    difference, p_value = found
    better = first if ranking_value(name, a) < ranking_value(name, b) else second
    each = [x - y for x, y in zip(*(card["by_seed"][arm][name] for arm in (first, second)), strict=True)]
    everywhere = all(value > 0 for value in each) or all(value < 0 for value in each)
    verdict = "no significant difference"
    if p_value <= SIGNIFICANT or everywhere:
        verdict = f"{better} is better" + (f" on each of {len(each)} seeds" if everywhere else "")
    return f"{text}, a difference of {format_number(abs(difference))} ({format_p_value(p_value)}): {verdict}."


def ordered_sentence(card: Card, name: str) -> str:
    """All models from the best by a score to the worst; those that do not differ significantly are joined by "≈"."""
    values = {arm: ranking_value(name, entry["scores"].get(name)) for arm, entry in card["arms"].items()}
    order = sorted((arm for arm in values if isfinite(values[arm])), key=lambda arm: values[arm])
    text = order[0] if order else "no model"
    for before, after in pairwise(order):
        found = paired(card, name, before, after)
        text += f" {'<' if found is not None and found[1] <= SIGNIFICANT else '≈'} {after}"
    return f"Order by {score_title(name)}, best first: {text}."


def paired(card: Card, name: str, first: str, second: str) -> tuple[float, float] | None:
    """The difference of a score of two models over seeds, and its p-value by Holm; ``None`` if it was not tested."""
    for pair in card["comparisons"].get(name, ()):
        if set(pair["models"]) == {first, second}:
            sign = 1 if pair["models"][0] == first else -1
            return sign * pair["difference"], pair["adjusted_p_value"]
    return None


def by_line(card: Card) -> dict[str, list[dict[str, Any]]]:
    """The arms that finished, by their lines, the smallest first."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for arm in card["arms"].values():
        if arm["scores"]:
            lines.setdefault(arm["line"], []).append(arm)
    return {line: sorted(arms, key=lambda arm: arm["at"]) for line, arms in lines.items()}
