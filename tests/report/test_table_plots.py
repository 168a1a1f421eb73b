"""Pictures of tables: what they show, the bins and limits they share, and that no label is cut off."""

import io
import re
import warnings
from html import unescape
from math import inf, nan

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pyrogen.data.columns import Column
from pyrogen.errors import DataError
from pyrogen.report import samples_png, table_plots, table_png
from pyrogen.report.axis_labels import short_name, text_width, tick_labels, ticks
from pyrogen.report.canvas import PANEL
from pyrogen.report.marginals import BARS, BINS, bin_edges, groups, limits
from pyrogen.report.moments import column_moments
from pyrogen.report.pairs import cramers_v, dependent_pairs

AGE = Column("age", "integer", 1.0, low=18.0, cells=73, dtype="int64")
INCOME = Column("income", "real")
KIDS = Column("children", "integer", 1.0, low=0.0, cells=9, dtype="int64")
OWNER = Column("home owner", "binary", 1.0, ("no", "yes"), cells=2, dtype="str")
JOB = Column("occupation", "categorical", 1.0, ("craft", "farm", "office", "research", "none"), cells=5, dtype="str")
PEOPLE = (AGE, INCOME, KIDS, OWNER, JOB)


def people(n: int, seed: int = 0) -> Tensor:
    """Rows of a mixed table with dependent columns."""
    draws = np.random.default_rng(seed)
    job = draws.integers(0, 5, n)
    age = draws.integers(18, 91, n)
    income = np.exp(9 + 0.4 * job + 0.4 * draws.standard_normal(n))
    kids = draws.poisson((age - 18) / 40).clip(0, 8)
    owner = draws.random(n) < (age - 18) / 72
    return torch.tensor(np.stack([age, income, kids, owner, job], 1))


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list:
    """The figures that are drawn."""
    kept = []

    def png(figure):
        kept.append(figure)
        return original(figure)

    original = table_plots.png
    monkeypatch.setattr(table_plots, "png", png)
    return kept


def titles(figure) -> list[str]:
    return [axes.get_title("left") for axes in figure.axes]


def labels(axes, which: str) -> list[str]:
    return [text.get_text() for text in getattr(axes, f"get_{which}ticklabels")()]


def clipped(figure) -> list[str]:
    """The texts that are not wholly inside the figure."""
    from matplotlib.text import Text

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.draw_without_rendering()
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        boxes = {text.get_text(): text.get_window_extent() for text in texts}
    whole = figure.bbox
    return [t for t, b in boxes.items() if b.x0 < -1 or b.y0 < -1 or b.x1 > whole.x1 + 1 or b.y1 > whole.y1 + 1]


class TestPicture:
    def test_every_column_has_a_histogram_with_its_name(self, figures: list) -> None:
        with Image.open(io.BytesIO(table_png(people(300, 1), people(300), PEOPLE))) as image:
            assert image.size[0] == 2 * PANEL
            assert len(np.unique(np.asarray(image))) > 50
        (figure,) = figures
        assert titles(figure)[:5] == ["age", "income", "children", "home owner", "occupation"]
        assert labels(figure.axes[3], "y") == ["no", "yes"]
        assert labels(figure.axes[4], "y") == list(JOB.values)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real", "generated"]
        assert len(figure.axes) == 5 + 6
        assert all(label.endswith("→") for label in (axes.get_xlabel() for axes in figure.axes[5:]))

    def test_no_text_is_cut_off(self, figures: list) -> None:
        wide = "W" * 60
        columns = [
            Column(f"{wide}{i}", c.kind, c.step, tuple(f"{wide} {v}" for v in c.values), c.low, c.cells, c.dtype)
            for i, c in enumerate(PEOPLE)
        ]
        columns.append(Column("Anteil (%) für $x$ und $y$ im 日本語", "real"))
        columns.append(Column("many", "categorical", 1.0, tuple(f"category {i}" for i in range(30)), cells=30))
        rows = torch.cat([people(300), 1e7 * torch.randn(300, 1), torch.randint(0, 30, (300, 1))], 1)
        for across in (2, 4):
            table_png(rows, rows, columns, across=across)
        for figure in figures:
            assert clipped(figure) == []
        assert "29 others" not in labels(figures[0].axes[6], "y")
        assert labels(figures[0].axes[6], "y")[-1] == "23 others"

    def test_models_share_bins_and_limits(self, figures: list) -> None:
        real = people(300)
        for drawn in (people(300, 1), people(300, 1) * 3):
            table_png(drawn, real, PEOPLE)
        for first, second in zip(figures[0].axes[:3], figures[1].axes[:3], strict=True):
            assert first.get_xlim() == second.get_xlim()
        assert "outside" in figures[1].axes[0].get_xlabel()
        assert titles(figures[0]) == titles(figures[1])

    def test_generated_values_far_away_or_not_finite_are_counted(self, figures: list) -> None:
        drawn = torch.zeros(100, 3)
        drawn[:10] = 1e9
        drawn[10:20] = nan
        drawn[20:25] = -inf
        table_png(drawn, torch.randn(500, 3))
        assert figures[0].axes[0].get_xlabel().startswith("25% outside")

    @pytest.mark.parametrize("rows", [torch.full((9, 5), nan), torch.zeros(9, 5), torch.zeros(1, 5)])
    def test_degenerate_samples_can_be_plotted(self, rows: Tensor) -> None:
        assert table_png(rows, people(50), PEOPLE)
        assert table_png(rows, people(1), PEOPLE)
        assert table_png(rows)

    def test_large_tables_are_summarised(self, figures: list) -> None:
        mixing = torch.randn(40, 40)
        real = torch.randn(300, 40) @ mixing
        table_png(torch.randn(300, 40) @ mixing, real)
        (figure,) = figures
        assert titles(figure)[:3] == ["difference of means / σ", "ratio of σ", "↑ correlations, generated"]
        assert titles(figure)[3:] == [f"column {i}" for i in range(6)]
        assert figure.legends[0].get_texts()[-1].get_text() == "below: the first 6 of 40 columns"
        assert clipped(figure) == []
        shift = torch.zeros(40)
        shift[17] = 50
        table_png(real + shift, real)
        assert figures[1].axes[0].get_xlabel() == "farthest: column 17"

    def test_rows_must_have_the_columns(self) -> None:
        for rows in (torch.zeros(3, 4), torch.zeros(0, 5), torch.zeros(3, 1, 5)):
            with pytest.raises(DataError, match="expected rows of shape"):
                table_png(rows, people(9), PEOPLE)

    def test_one_or_two_columns(self, figures: list) -> None:
        """Real numbers of one scale keep their histogram and scatter plot; other columns are drawn as a table."""
        reals = (Column("x", "real"), Column("y", "real"))
        points = torch.randn(50, 2)
        samples_png(points[:, :1], points[:, :1], columns=reals[:1])
        samples_png(points, points, columns=reals)
        assert not figures
        samples_png(points * torch.tensor([1.0, 1000.0]), points * torch.tensor([1.0, 1000.0]), columns=reals)
        samples_png(people(50)[:, 3:4], people(50)[:, 3:4], columns=(OWNER,))
        samples_png(people(50)[:, 3:], people(50)[:, 3:], columns=(OWNER, JOB))
        assert [len(figure.axes) for figure in figures] == [3, 1, 3]


class TestBins:
    def test_discrete_columns_have_a_whole_number_of_values_in_each_bin(self) -> None:
        few = bin_edges(KIDS, np.arange(9.0))
        assert few.tolist() == (np.arange(10) - 0.5).tolist()
        many = bin_edges(AGE, np.arange(18.0, 91))
        assert len(many) <= BINS + 1
        assert set(np.diff(many)) == {3.0}
        fine = Column("fine", "integer", 0.25, low=1.0, cells=9)
        assert np.allclose(bin_edges(fine, np.array([1.0, 3.0])), 0.875 + 0.25 * np.arange(10))
        assert len(few) - 1 <= BARS

    def test_long_tails_do_not_set_the_limits(self) -> None:
        values = np.random.default_rng(0).standard_cauchy(5000)
        low, high = limits(values)
        assert -200 < low < high < 200
        normal = np.random.default_rng(0).standard_normal(2000)
        assert limits(normal) == (normal.min(), normal.max())
        assert limits(np.array([nan, 3.0, inf])) == (3.0, 3.0)

    def test_rare_categories_are_one_group(self) -> None:
        column = Column("c", "categorical", 1.0, tuple("abcdefghijkl"), cells=12)
        values = np.repeat(np.arange(12.0), np.arange(12, 0, -1))
        known = groups(column, values)
        assert known.labels == (*"abcdefg", "5 others")
        assert known(np.array([0.0, 6.0, 7.0, 11.0, nan, 50.0])).tolist()[:4] == [0, 6, 7, 7]
        assert np.isnan(known(np.array([nan, 50.0]))).all()
        assert groups(INCOME, values) is None
        assert groups(AGE, np.arange(18.0, 91)) is None
        flag = groups(Column("b", "binary", 1.0, cells=2, dtype="bool"), np.array([0.0, 1.0]))
        assert flag.labels == ("False", "True")


class TestPairs:
    def test_dependence(self) -> None:
        draws = np.random.default_rng(0)
        a, b = draws.integers(0, 4, (2, 5000))
        assert cramers_v(a, b) < 0.05
        assert cramers_v(a, (a * 7) % 4) == pytest.approx(1, abs=1e-3)
        assert cramers_v(a, np.zeros_like(a)) == 0

    def test_the_most_dependent_pairs_are_found(self) -> None:
        """Also where the dependence is not linear, or on categories."""
        draws = np.random.default_rng(0)
        x, y, job = draws.standard_normal(2000), draws.standard_normal(2000), draws.integers(0, 5, 2000)
        rows = np.stack([x, y, x**2 + 0.1 * y, job, 5.0 * (job == 2) + draws.standard_normal(2000)], 1)
        columns = [Column("x", "real"), Column("y", "real"), Column("x²", "real"), JOB, Column("z", "real")]
        assert dependent_pairs(rows, columns, 2) == [(0, 2), (3, 4)]
        assert len(dependent_pairs(rows, columns, 6)) == 6
        assert dependent_pairs(rows[:, :1], columns[:1], 6) == []


class TestLabels:
    def test_numbers_are_short_and_different(self) -> None:
        assert tick_labels(np.array([0, 5e4, 1e5])) == ["0k", "50k", "100k"]
        assert tick_labels(np.array([-2.5, 0, 2.5])) == ["−2.5", "0.0", "2.5"]
        assert tick_labels(np.array([1.5e6, 2e6])) == ["1.5M", "2.0M"]
        assert tick_labels(np.array([0.25, 0.5])) == ["0.25", "0.50"]
        assert tick_labels(np.array([1e-7, 2e-7])) == ["1e−07", "2e−07"]
        assert tick_labels(np.array([])) == []

    @pytest.mark.parametrize("limit", [(0, 1), (-3e5, 2e6), (2019, 2024), (1e-9, 3e-9), (5, 5), (1e18, 3e18)])
    def test_ticks_fit(self, limit: tuple[float, float]) -> None:
        values, words = ticks(*limit)
        assert len(values) == len(words) == len(set(words)) <= 4
        assert all(limit[0] <= value <= limit[1] for value in values)

    def test_long_names_lose_their_middle(self) -> None:
        short = short_name("household_income_in_euros_per_year", 12)
        assert text_width(short) <= 12
        assert re.fullmatch(r"household.*….*_year", short)
        assert short_name("a\nb", 12) == "a b"
        assert short_name("a$b$", 12) == r"a\$b\$"
        assert short_name("x", 0) == "x"


def test_moments() -> None:
    """Columns of numbers have a mean and deviation, categories a share; values that are not finite are left out."""
    real, drawn = people(500).numpy(), people(400, 1).numpy()
    drawn[0, 1] = nan
    found = {m.name: m for m in column_moments(real, drawn, PEOPLE)}
    assert list(found) == ["age", "income", "children", "home owner: yes", *(f"occupation: {v}" for v in JOB.values)]
    assert found["age"].real == (real[:, 0].mean(), real[:, 0].std())
    assert found["income"].generated[0] == pytest.approx(drawn[1:, 1].mean())
    assert found["occupation: farm"].is_share
    assert found["occupation: farm"].generated[0] == (drawn[:, 4] == 1).mean()


def test_the_page_shows_tables_with_their_names_and_moments(report) -> None:
    page = report(samples={"vae": people(200, 1), "gan": people(200, 2)}, real=people(200), columns=PEOPLE).read_text()
    assert re.findall(r'alt="([^"]*)"', page)[2:4] == [
        "vae: samples, as judged, 200 of them",
        "gan: samples, as judged, 200 of them",
    ]
    rows = [unescape(" ".join(re.sub("<[^>]*>", " ", row).split())) for row in re.findall("<tr.*?</tr>", page, re.S)]
    assert [row.split()[0] for row in rows].count("age") == 2
    assert len([row for row in rows if row.startswith("occupation: office ")]) == 2
    share = f"{(people(200)[:, 4] == 2).double().mean():.1%}"
    assert f"occupation: office {share}" in next(row for row in rows if row.startswith("occupation: office"))
    assert "most in the real data" in page
