"""``python -m pyrogen``."""

from pyrogen.cli import main

main()
