"""What objects show of themselves: one line of text, and a table in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from pyrogen.errors import printable

Facts = Mapping[str, object]


class Summarised(ABC):
    """An object that shows a title and facts, ``<title: name value, …>``, in a notebook as a table."""

    @abstractmethod
    def summary(self) -> tuple[str, Facts]:
        """The title, and what there is to say, by name."""

    def __repr__(self) -> str:
        title, facts = self.summary()
        return f"<{title}: {', '.join(f'{name} {value}' for name, value in facts.items())}>"

    def _repr_html_(self) -> str:
        title, facts = self.summary()
        return html_table((title, ""), facts.items())


def text_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Rows of texts in columns, the first aligned to the left, the others to the right."""
    lines = [[printable(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def html_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """The same as HTML; markup in a text is escaped."""
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
