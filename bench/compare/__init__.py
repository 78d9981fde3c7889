"""fastrelay beside others, in one run: ``python -m bench compare``."""
