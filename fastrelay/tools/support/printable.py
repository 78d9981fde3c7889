"""Makes what another host sent safe to print on a terminal."""


def printable(text: str, most: int = 300) -> str:
    """The text in printable ASCII, cut to ``most`` characters before the rest is escaped.

    Control characters could move the cursor or set colours and titles, and characters that change
    the direction of writing could make a line read as another one.
    """
    cut = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in cut)
