"""What is measured while a run trains: means of logged scalars, validation, and diagnoses."""

import pyrogen.console  # noqa: F401 (imports rich without a change of Python's random state)
