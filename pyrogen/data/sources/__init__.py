"""A user's own data: one file for each kind of source, all read as ``RawData``."""

__all__: list[str] = []
