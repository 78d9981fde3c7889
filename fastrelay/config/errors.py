"""What is raised when a relay will not start."""


class ConfigurationError(Exception):
    """The relay will not start.

    Attributes:
        what: one line that says what is wrong. Never holds a secret.
        fix: one line that says how to put it right.
    """

    def __init__(self, what: str, fix: str) -> None:
        # What is quoted may come from a file name or a library, with line ends in it.
        self.what, self.fix = (" ".join(text.splitlines()) for text in (what, fix))
        super().__init__(self.what)
