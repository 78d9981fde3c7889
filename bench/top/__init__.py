"""``python -m bench top``: a picture of ``fastrelay top``."""
