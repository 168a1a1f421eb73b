"""The report as text: its contents, its rankings, and that it is self-contained."""

import re
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from page_text import table, text

from pyrogen.errors import RunError
from pyrogen.report.formatting import (
    KIND_LABELS,
    config_value,
    format_duration,
    format_p_value,
    score_details,
    value_and_error,
)
from pyrogen.report.ranking import best, group_models

Write = Callable[..., Path]


class TestPage:
    def test_each_likelihood_is_labelled_with_its_kind(self, report: Write) -> None:
        page = report().read_text()
        rows = table(page)
        assert rows["gaussian"].startswith("gaussian explicit one Gaussian EXACT 49.4 (48.2 to 50.6) nats")
        assert "≥ LOWER BOUND best 61.2 (60.0 to 62.4) nats" in rows["vae"]
        assert "2.71 (2.67 to 2.75) bits/dim ≤ UPPER BOUND" in rows["vae"]
        assert "ELBO 57.3 (55.9 to 58.7) nats ≥ LOWER BOUND" in rows["vae"]
        assert "≤ UPPER BOUND 99.9" in rows["sandwich"]
        assert "– KDE 321 (317 to 325) nats ≈ ESTIMATE" in rows["gan"]
        assert "EXACT not a number nats" in rows["diverged"]

    def test_estimates_are_listed_separately_with_a_warning(self, report: Write) -> None:
        page = text(report().read_text())
        order = [
            "Likelihood known",
            "sandwich",
            "vae",
            "gaussian",
            "diverged",
            "Likelihood not known",
            "gan",
            "No result",
        ]
        found = [page.index(f" {name} ", page.index("Scorecard Numbers")) for name in order]
        assert found == sorted(found)
        assert "unreliable in high dimension and comparable neither with the values above nor between models" in page

    def test_only_comparable_scores_are_ranked_best(self, report: Write) -> None:
        """Estimates, upper bounds and anchors are never ranked best, whatever their value."""
        rows = table(report().read_text())
        assert "best" not in rows["sandwich"].split("99.9")[0]
        assert "best" not in rows["gan"].split("321")[0]
        assert "0.0029 MMD² best" in rows["gan"]
        assert "0.66 (0.62 to 0.70) accuracy best" in rows["gan"]
        assert [name for name in rows if "best" in rows[name].split()] == ["vae", "gan"]

    def test_sample_scores_are_shown_with_their_reference_values(self, report: Write) -> None:
        rows = table(report().read_text())
        assert "p = 0.004" in rows["gan"]
        assert "above chance (0.45–0.55)" in rows["gan"]
        assert "FID 9.8" in rows["gan"]
        assert "61,322 parameters 18 s to train 4 ms / 1,000 samples" in rows["vae"]
        assert "0.51 (0.47 to 0.55) accuracy chance (0.45–0.55)" in rows["train (anchor)"]

    def test_missing_scores_are_dashes_and_failures_give_the_reason(
        self, report: Write, scorecard: dict[str, Any]
    ) -> None:
        rows = table(report().read_text())
        (long,) = (name for name in rows if name.startswith("a_very_long"))
        assert rows[long].removeprefix(long).split()[:6] == ["implicit", *"––––", "61,322"]
        assert rows["broken"] == "broken implicit Did not finish. the loss was NaN after step 312"
        assert len(rows) == len(scorecard["models"]) + len(scorecard["anchors"])

    def test_every_score_is_listed_with_its_details(self, report: Write) -> None:
        page = text(report().read_text().split("<summary>Every score")[1])
        for line in (
            "log-likelihood 61.2 (60.0 to 62.4) nats ≥ LOWER BOUND n = 449, k = 100",
            "KDE 321 (317 to 325) nats ≈ ESTIMATE bandwidth = 0.1. a kernel-density estimate misleads",
            "C2ST 0.93 (0.89 to 0.97) accuracy STATISTIC null = [0.45, 0.55], n = 898",
            "MMD² 0.0029 MMD² ≈ ESTIMATE p value = 0.004, n = 449",
        ):
            assert line in page

    def test_the_page_explains_itself(self, report: Write) -> None:
        page = text(report().read_text())
        for words in (*KIND_LABELS.values(), "explicit", "implicit", "How to read this page", "1,168 train, 180 valid"):
            assert words in page
        assert "2,000 steps, batches of 128, seed 0" in page
        assert "standard error over the data" in page
        assert "lr 0.00012345 hidden 256, 64" in page
        assert re.search(r"Made by pyrogen \S+.* on \d{4}-\d\d-\d\d \d\d:\d\d UTC", page)

    def test_several_seeds_are_mentioned(self, report: Write, scorecard: dict[str, Any]) -> None:
        scorecard["budget"]["seeds"] = [0, 1, 2]
        page = text(report(scorecard=scorecard).read_text())
        assert "standard error over 3 seeds and the data" in page
        assert "seeds 0, 1, 2" in page


class TestFile:
    def test_it_is_self_contained(self, report: Write) -> None:
        page = report().read_text()
        assert "http:" not in page
        assert "https:" not in page
        assert page.count("<script") == 1
        assert not re.search(r"@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")", page)
        sources = re.findall(r'src="([^"]{0,40})', page)
        assert len(sources) == 4 + 2 + 2
        assert all(source.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,")) for source in sources)

    def test_names_are_escaped(self, report: Write, scorecard: dict[str, Any]) -> None:
        evil = '<script>alert("1")</script>'
        models = {
            evil: scorecard["models"]["vae"] | {"about": evil},
            "b": {"family": evil, "error": evil, "scores": {}},
        }
        page = report(
            scorecard=scorecard | {"models": models, "data": evil, "space": evil, "split": {evil: 1}},
            samples={evil: torch.rand(4, 1, 8, 8)},
            curves={evil: [{"t": 0, evil: 1.0}, {"t": 1, evil: 2.0}]},
            config={evil: {evil: evil}},
        ).read_text()
        assert page.count("<script") == 1
        assert "alert(&#34;1&#34;)" in page
        assert evil in table(page)

    def test_images_are_described_and_real_data_come_first(self, report: Write) -> None:
        page = report().read_text()
        alts = re.findall(r'alt="([^"]*)"', page)
        assert [alt.split(";")[0] for alt in alts] == [
            "Log-likelihood of the models against MMD² (0 is best)",
            "Log-likelihood of the models against C2ST accuracy (½ is best)",
            "Real data: test data, 64 of them",
            "vae: samples, as judged, 64 of them",
            "gaussian: samples, as judged, 64 of them",
            "gan: samples, as judged, 7 of them",
            "Training curves of vae",
            "Training curves of gan",
        ]
        assert "No finite number was logged" in page

    def test_non_finite_samples_are_counted(self, report: Write) -> None:
        samples = torch.rand(10, 1, 8, 8)
        samples[3] = nan
        assert "samples, as judged: 10 of 10; 1 with values that are not numbers" in text(
            report(samples={"x": samples}).read_text()
        )

    @pytest.mark.parametrize("shape", [(20, 2), (20, 1), (20,), (20, 5), (9, 3, 32, 32), (2, 1, 400, 400)])
    def test_any_data_can_be_shown(self, report: Write, shape: tuple[int, ...]) -> None:
        assert "data:image/png" in report(samples={"vae": torch.rand(shape)}, real=torch.rand(shape)).read_text()

    @pytest.mark.parametrize("n", [1, 12])
    def test_any_number_of_models(self, report: Write, scorecard: dict[str, Any], n: int) -> None:
        models = {f"m{i}": scorecard["models"]["vae"] for i in range(n)}
        page = report(scorecard=scorecard | {"models": models, "anchors": {}}, curves={}, config={}).read_text()
        assert len(table(page)) == n
        assert ("In short" in page) == (n > 1)

    def test_the_error_names_a_missing_folder(self, report: Write, tmp_path: Path) -> None:
        report()
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        tmp_path.joinpath("report.html").unlink()
        tmp_path.rmdir()
        with pytest.raises(RunError, match="cannot write"):
            report()


class TestRanking:
    def score(self, value: float | None, kind: str = "statistic", stderr: float = 0.0, **detail: Any) -> dict[str, Any]:
        return {"value": value, "stderr": stderr, "kind": kind, "unit": "", **detail}

    def winners(self, name: str, **scores: dict[str, Any]) -> set[str]:
        return best({model: {name: score} for model, score in scores.items()}, name)

    def test_direction_of_each_score(self) -> None:
        low, high = self.score(0.1, "exact"), self.score(0.9, "exact")
        for name in ("log_likelihood", "iwae", "precision", "coverage@classifier", "inception_score"):
            assert self.winners(name, low=low, high=high) == {"high"}
        for name in ("bits_per_dim", "mmd2", "fid", "kid", "fld", "fid@inception", "reverse_kl"):
            assert self.winners(name, low=low, high=high) == {"low"}
        for name in ("nearest_neighbour", "swd", "ndb"):
            assert not self.winners(name, low=low, high=high)

    def test_c2st_is_best_at_chance(self) -> None:
        guess, sure, odd = (self.score(value, null=[0.45, 0.55]) for value in (0.54, 0.9, 0.3))
        assert self.winners("c2st", guess=guess, sure=sure, odd=odd, lucky=self.score(0.46, null=[0.45, 0.55])) == {
            "guess",
            "lucky",
        }

    def test_only_conservative_bounds_are_ranked(self) -> None:
        exact, worse = self.score(1.0, "exact"), self.score(0.0, "exact")
        for kind, expected in (("lower_bound", "other"), ("upper_bound", "exact"), ("estimate", "exact")):
            assert self.winners("log_likelihood", exact=exact, worse=worse, other=self.score(9.0, kind)) == {expected}
        assert self.winners("bits_per_dim", a=self.score(3.0, "upper_bound"), b=exact) == {"b"}
        assert not self.winners("bits_per_dim", a=self.score(0.5, "lower_bound"), b=exact)

    def test_ties_are_shared_and_non_finite_values_are_not_ranked(self) -> None:
        first, near, far = (self.score(value, stderr=0.1) for value in (1.0, 1.2, 1.4))
        assert self.winners("fid", first=first, near=near, far=far, lost=self.score(nan)) == {"first", "near"}
        assert not self.winners("fid", alone=first, lost=self.score(None), gone=self.score(inf))

    def test_paired_comparisons_decide_where_there_are_any(self) -> None:
        models = {name: {"fid": self.score(value, stderr=0.1)} for name, value in (("a", 1.0), ("b", 1.1), ("c", 2.0))}

        def entry(pair: str, p_value: float) -> dict[str, Any]:
            return {"models": list(pair), "adjusted_p_value": p_value}

        assert best(models, "fid") == {"a", "b"}
        assert best(models, "fid", [entry("ab", 0.04), entry("ca", 0.06)]) == {"a", "c"}
        assert best(models, "fid", [entry("cb", 0.5)]) == {"a", "b"}  # pairs without the winner decide nothing

    def test_groups(self, scorecard: dict[str, Any]) -> None:
        found = group_models(scorecard["models"])
        assert found["known"] == ["sandwich", "vae", "gaussian", "diverged"]
        assert found["unknown"][0] == "gan"
        assert found["failed"] == ["broken"]


class TestWords:
    @pytest.mark.parametrize(
        ("value", "stderr", "words"),
        [
            (49.4271, 0.6123, "49.4 ± 0.6"),
            (2.5823, 0.0181, "2.582 ± 0.018"),
            (-81234.56, 901.0, "−81,235 ± 901"),
            (0.0020991, 0.0, "0.0021"),
            (0.000012, None, "1.2 × 10⁻⁵"),
            (-0.00004, 0.003, "0.000 ± 0.003"),
            (123456.7, None, "123,457"),
            (0.0, 0.0, "0"),
            (nan, nan, "not a number"),
            (-inf, 0.1, "−∞"),
            (None, None, "–"),
        ],
    )
    def test_values_are_rounded_to_the_precision_of_their_error(
        self, value: float | None, stderr: float | None, words: str
    ) -> None:
        assert " ± ".join(filter(None, value_and_error(value, stderr))) == words

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (0.0004, "0.4 ms"), (0.02, "20 ms"), (0.31, "310 ms"), (3.14, "3.1 s"), (59.7, "1 min 00 s"),
            (252, "4 min 12 s"), (7500, "2 h 05 min"), (nan, "–"), (None, "–"),
        ],
    )  # fmt: skip
    def test_durations(self, seconds: float | None, words: str) -> None:
        assert format_duration(seconds) == words

    def test_other_formats(self) -> None:
        assert [format_p_value(p) for p in (0.0, 0.004, 0.62)] == ["p < 0.001", "p = 0.004", "p = 0.62"]
        assert config_value([1, (0.5, 0.999)]) == "1, 0.5, 0.999"
        assert config_value([]) == "none"
        score = {"value": 1, "stderr": 0, "kind": "exact", "unit": "nats", "n": 10000, "window": [0.1, 2], "note": "x"}
        assert score_details(score) == "n = 10,000, window = [0.1, 2]"
