"""A report as plain text."""

import re
from html import unescape


def table(page: str) -> dict[str, str]:
    """Return the rows of the scorecard as plain text by model; anchors as ``NAME (anchor)``."""
    rows = {}
    scores = page[page.index("</thead>") : page.index("<summary>Every score")]
    for row in re.findall(r'<tr role="row"(?: class="anchor")?>\n<th.*?</tr>', scores, re.DOTALL):
        name = unescape(re.search(r'class="name">(.*?)</span>', row)[1])
        rows[name + (" (anchor)" if 'class="anchor"' in row else "")] = text(row)
    return rows


def text(html: str) -> str:
    """Return the visible text: inline tags do not separate words, all others do."""
    html = re.sub(
        r'<span class="(?:value|error|unit|kind[^"]*|best|whole)">|</span>|</?b>|</?em>|</?a\b[^>]*>', "", html
    )
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
