"""The page of a comparison, ``report.html``."""

from pyrogen.report.page.write import write_report

__all__ = ["write_report"]
