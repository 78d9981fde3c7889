"""The exception that is raised when a relay cannot start."""

import shlex
import sys


class ConfigurationError(Exception):
    """The configuration is refused, and the relay does not start.

    Attributes:
        what: one line that says what is wrong. It contains no secret.
        fix: one line that says how to correct it.
    """

    def __init__(self, what: str, fix: str) -> None:
        # Quoted text may come from a file name or a library, and may contain line ends.
        self.what, self.fix = (" ".join(text.splitlines()) for text in (what, fix))
        super().__init__(self.what)


def install_extra(extra: str) -> str:
    """How to install an extra of this package, which is in no package index.

    With the Python that runs this: the pip that a shell finds may install it elsewhere.
    """
    pip = f"{shlex.quote(sys.executable or 'python3')} -m pip"
    return f"{pip} install 'PATH[{extra}]', where PATH is the wheel or the checkout of fastrelay"
