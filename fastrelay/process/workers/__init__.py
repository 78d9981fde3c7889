"""Several processes that are one relay: a supervisor, and workers that serve."""
