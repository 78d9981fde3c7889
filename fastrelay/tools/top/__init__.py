"""``fastrelay top``: a live view of a running relay, fed by its metrics page."""
