"""What the page says: winners, one order, verdicts, intervals, explanations, and the words at its end."""

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from page_text import table, text
from torch import Tensor

from pyrogen.report.page.entries import in_order, other_measures, winners
from pyrogen.report.page.glossary import ENTRIES
from pyrogen.report.page.words import closing, findings
from pyrogen.report.pictures import Pictures

Write = Callable[..., Path]


def score(value: float, stderr: float = 0.0, kind: str = "statistic", **detail: Any) -> dict[str, Any]:
    return {"value": value, "stderr": stderr, "kind": kind, "unit": "mmd2", **detail}


class TestTiles:
    def test_the_best_is_named_first_with_its_own_value(self) -> None:
        """The first model listed is within the error of the best, and is not the best."""
        models = {
            name: {"scores": {"mmd2": score(value, 0.002)}} for name, value in (("a", 0.0112), ("b", 0.01), ("c", 0.5))
        }
        (tile,) = findings(models, winners(models, {}), in_order(models))
        assert tile[1] == "b, a"
        assert tile[2].startswith("b: 0.010 ± 0.002")

    def test_an_interval_replaces_the_error(self) -> None:
        models = {n: {"scores": {"mmd2": score(v, 0.001, interval=[v, 2 * v])}} for n, v in (("a", 0.01), ("b", 0.3))}
        (tile,) = findings(models, winners(models, {}), in_order(models))
        assert tile[1:] == ("a", "0.010 (0.010 to 0.020) MMD²")


class TestOrder:
    def test_models_stand_in_the_order_of_the_scorecard_everywhere(
        self, report: Write, scorecard: dict[str, Any], digits: Tensor
    ) -> None:
        models = scorecard["models"]
        order = in_order(models)
        assert order[:3] == ["sandwich", "vae", "gaussian"]
        backwards = list(reversed(order))
        page = report(
            samples={name: digits[:9] for name in backwards},
            curves={name: [{"t": t, "loss": 1.0 * t} for t in range(3)] for name in backwards},
            config={"options": {name: {"steps": 1} for name in backwards}},
        ).read_text()
        every = re.findall(r'class="group"><th[^>]*colspan="4">([^<]*)</th>', page)
        drawn = re.findall(r'<h3 class="name">([^<]*)</h3>', page)
        curves = re.findall(r'<figcaption><span class="name">([^<]*)</span>', page)
        settings = re.findall(r"<dt>([^<]*)</dt>\n<dd>\s*<dl>", page[page.index('class="config"') :])
        assert list(table(page))[: len(order)] == order
        assert every == [n for n in order if models[n]["scores"]] + ["train (anchor)", "gaussian (anchor)"]
        assert drawn == ["Real data", *order]
        assert curves == order
        assert settings == ["options", *order]


class TestPictures:
    def test_draws_means_and_neighbours_are_labelled(self, report: Write, digits: Tensor) -> None:
        shown = {"vae": Pictures(digits[:64], digits[64:128], digits[128:192]), "gan": Pictures(digits[:64])}
        page = text(report(samples=shown, real=Pictures(digits[:64], nearest=digits[64:128])).read_text())
        order = (
            "Real data test data: 64 of 64 each test image above its nearest training image: 32 of 64",
            "vae draws of p(x | z), as judged: 64 of 64 means of p(x | z), not judged: 64 of 64 each sample above its "
            "nearest training image: 32 of 64",
            "gan samples, as judged: 64 of 64 Training",
        )
        assert [words for words in order if words not in page] == []

    def test_reconstructions_are_called_so(self, report: Write, scorecard: dict[str, Any], digits: Tensor) -> None:
        scorecard["models"]["vae"]["family"] = "reconstruction"
        assert "reconstructions of test data: 9 of 9" in text(report(samples={"vae": digits[:9]}).read_text())


class TestFullCard:
    def test_verdicts(self, report: Write, full_card: dict[str, Any]) -> None:
        page = report(scorecard=full_card).read_text()
        rows = table(page)
        assert "above chance (0.45–0.55) copies p = 0.001 pixels" in rows["gan"]
        assert "off the data p = 0.001 narrow p = 0.001 pixels" in rows["gaussian"]
        assert "none of these found with 450 samples, 629 held-out data" in rows["vae"]
        assert 'data-label="Verdict" class="verdict">\n<span class="none">–' in page.replace("\n\n", "\n")
        details = text(page[page.index("Tests behind") :])
        assert (
            "gaussian: off the data, narrow off the data, p = 0.001 copies p = 0.4, off the data p = 0.001" in details
        )
        assert "test of copies copies pixels 0.1 p = 0.001 1,000 samples" in details
        assert "450 samples show copies from a share of 3% on" in details
        assert "no sign" not in page

    def test_without_verdicts_or_other_measures_there_is_no_column(
        self, report: Write, scorecard: dict[str, Any]
    ) -> None:
        page = report().read_text()
        assert "Verdict" not in page
        del scorecard["models"]["gan"]["scores"]["fid"]
        assert "Other measures" not in report(scorecard=scorecard).read_text()

    def test_intervals_replace_errors(self, report: Write, full_card: dict[str, Any]) -> None:
        page = report(scorecard=full_card).read_text()
        assert "61.2 (59.9 to 62.5) nats" in table(page)["vae"]
        every = text(page[page.index("<summary>Every score") :])
        assert "log-likelihood 61.2 (59.9 to 62.5) nats ≥ LOWER BOUND n = 449, k = 100" in every
        assert "FID (classifier) 0.50 (0.42 to 0.58) share" in every

    def test_paired_differences(self, report: Write, full_card: dict[str, Any]) -> None:
        page = text(report(scorecard=full_card).read_text())
        page = page[page.index("Paired differences, same test data, Holm-corrected") :]
        assert "log-likelihood vae − gaussian 11.8 ± 0.4 p < 0.001 p < 0.001 different" in page
        assert "MMD² vae − gaussian −0.016 ± 0.010 p < 0.001 p = 0.2 not told apart" in page

    def test_many_measures_are_few_in_the_table(self, report: Write, full_card: dict[str, Any]) -> None:
        row = table(report(scorecard=full_card).read_text())["vae"]
        assert row.count("5 more") == 2
        assert "pixels FID 0.50" in row
        assert "classifier FID 0.50" in row
        assert "KID" not in row
        few = {name: {} for name in ("kid", "swd", "mmd2", "elbo")}
        assert other_measures(few) == [("", ["kid", "swd"], 0)]
        unknown = {f"own{i}": {} for i in range(9)}
        assert other_measures(unknown) == [("", ["own0", "own1", "own2", "own3", "own4"], 4)]

    def test_a_conditional_likelihood_is_labelled_and_not_ranked(
        self, report: Write, full_card: dict[str, Any]
    ) -> None:
        """It is higher than every log p(x)."""
        page = report(scorecard=full_card).read_text()
        row = table(page)["program"]
        assert "EXACT of log p(x | y), not ranked with log p(x) 70.5" in row
        assert winners(full_card["models"], {})["log_likelihood"] == {"vae"}
        assert in_order(full_card["models"]) == ["vae", "gaussian", "program", "gan"]
        assert "Likelihood of something else than x" in page

    def test_a_kernel_estimate_alone_is_no_likelihood(self, report: Write, full_card: dict[str, Any]) -> None:
        row = table(report(scorecard=full_card).read_text())["gan"]
        assert row.startswith("gan implicit – KDE 321 (317 to 325) nats ≈ ESTIMATE")

    def test_the_step_of_the_weights(self, report: Write, full_card: dict[str, Any]) -> None:
        full_card["models"]["gan"]["weights"] = {"step": [900, 1850], "rule": "lowest validation loss"}
        page = report(scorecard=full_card).read_text()
        assert "weights of step 1,850: lowest validation loss" in table(page)["vae"]
        assert "weights of steps 900, 1850: lowest validation loss" in table(page)["gan"]
        assert "vae weights of step 1,850: lowest validation loss" in text(page[page.index('id="curves"') :])

    @pytest.mark.parametrize("field", ["sentence", "limits"])
    def test_words_of_verdicts_are_escaped(self, report: Write, full_card: dict[str, Any], field: str) -> None:
        full_card["models"]["gan"]["verdict"][field] = "<script>alert(1)</script>"
        full_card["models"]["gan"]["verdict"]["tests"][0]["detail"] = "<script>alert(1)</script>"
        full_card["comparisons"]["mmd2"][0]["models"] = ["<script>", "b"]
        full_card["models"]["vae"]["weights"]["rule"] = "<script>"
        assert report(scorecard=full_card).read_text().count("<script") == 1


class TestExplanations:
    def test_every_number_links_to_what_it_is(self, report: Write, full_card: dict[str, Any]) -> None:
        page = report(scorecard=full_card).read_text()
        links = set(re.findall(r'href="#(about-[^"]*)"', page))
        anchors = set(re.findall(r'id="(about-[^"]*)"', page))
        assert links == anchors - {"about-verdict"} | {"about-verdict"}
        assert {"about-log_likelihood", "about-mmd2", "about-fid", "about-verdict"} <= links

    def test_only_what_is_on_the_page_is_explained(self, report: Write) -> None:
        page = report().read_text()
        assert 'id="about-mmd2"' in page
        assert 'id="about-coverage"' not in page

    def test_an_unknown_measure_has_no_link(self, report: Write, scorecard: dict[str, Any]) -> None:
        scorecard["models"]["vae"]["scores"]["mine"] = score(1.5)
        page = report(scorecard=scorecard).read_text()
        assert "mine 1.5" in table(page)["vae"]
        assert "#about-mine" not in page

    def test_each_entry_says_what_is_best_and_ends_in_one_stop(self) -> None:
        for entry in ENTRIES.values():
            assert entry.what.endswith(".")
            assert entry.shows.endswith(".")
            assert not entry.best.endswith(".")
            assert not entry.interval.endswith(".")

    def test_quantities_of_the_curves_are_explained(self, report: Write) -> None:
        rows = [{"t": t, "critic_accuracy": 0.5 + t / 9, "std_ratio": 1.0 + t, "gradient": 0.1 * t} for t in range(4)]
        page = text(report(curves={"gan": rows}).read_text())
        for words in ("critic accuracy the share of", "std ratio the standard deviation", "gradient the norm of the"):
            assert words in page
        assert "perplexity the" not in page


def test_the_script_is_the_one_that_the_policy_allows(report: Write) -> None:
    page = report().read_text()
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


class TestClosing:
    def test_it_speaks_of_what_is_on_the_page(self, full_card: dict[str, Any]) -> None:
        words = " ".join(closing(full_card))
        for part in (
            "449 test data of digits",
            "The likelihood of gaussian is exact",
            "That of vae is a lower bound",
            "That of program is conditional",
            "For gan there is no likelihood",
            "n = 449, MMD² is known to about ±",
            "A C2ST at chance",
            "A verdict names the kinds",
            "Each model was trained once",
        ):
            assert part in words
        assert 5 <= len(closing(full_card)) <= 7

    def test_a_bound_by_annealing_is_told_from_none(self, full_card: dict[str, Any]) -> None:
        gan = full_card["models"]["gan"]
        annealed = gan | {"scores": gan["scores"] | {"ais": score(-20.0, kind="lower_bound")}}
        words = " ".join(closing(full_card | {"models": full_card["models"] | {"gan": annealed}}))
        assert "For gan there is no likelihood without added noise; with it" in words
        assert "judged by its samples alone" not in words

    def test_nothing_is_said_of_what_is_absent(self, full_card: dict[str, Any]) -> None:
        models = {"pca": {"family": "reconstruction", "scores": {"reconstruction": score(0.1)}}}
        words = " ".join(closing(full_card | {"models": models, "budget": {"seeds": [0, 1, 2]}}))
        assert not re.search("MMD|C2ST|exact|bound|verdict", words)
        assert "trained 3 times" in words


def test_the_page_of_a_table_needs_no_images(report: Write, full_card: dict[str, Any]) -> None:
    rows = torch.randn(60, 5)
    page = report(scorecard=full_card, samples={"vae": rows, "gan": rows}, real=rows).read_text()
    assert "columns FID" in table(page)["vae"]
    assert "nearest training image" not in page
