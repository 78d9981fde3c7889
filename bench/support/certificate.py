"""A certificate for relays that serve TLS on loopback."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """PEM files of a chain, which also verifies itself, and of its key."""

    chain: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """ECDSA P-256, for 127.0.0.1; made once in a directory."""
    made = Certificate(directory / "cert.pem", directory / "key.pem")
    if not made.chain.exists():
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"),
                *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=bench"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(made.key), "-out", str(made.chain)),
            ],
            check=True,
            capture_output=True,
        )
    return made
