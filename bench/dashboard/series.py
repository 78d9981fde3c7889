"""What is drawn."""

Line = tuple[str, list[float], list[float]]
"""A name, seconds since the start, values."""
