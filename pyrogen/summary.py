"""What objects show of themselves: one line of text, and a table in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from torch import nn

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


class SummarisedModel(Summarised, nn.Module):
    """A network that shows, in place of torch's list of its layers, what data it is of and how large it is.

    ``print(list(model.named_children()))`` gives the layers.
    """

    def summary(self) -> tuple[str, Facts]:
        """The class, the shape of one datum, the dimension of z, the condition, and the number of parameters."""
        facts = {name: getattr(self, name, None) for name in ("shape", "latent", "latents", "codes")}
        condition = getattr(self, "condition", None)
        facts["condition"] = None if condition is None else type(condition).__name__
        facts["parameters"] = f"{sum(p.numel() for p in self.parameters()):,}"
        return type(self).__name__, {name: value for name, value in facts.items() if value is not None}


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
