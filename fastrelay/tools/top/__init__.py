"""``fastrelay top``: a live view of a running relay, from its metrics."""
