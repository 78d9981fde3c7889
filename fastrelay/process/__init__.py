"""The life of one process: start, signals, drain, exit code."""
