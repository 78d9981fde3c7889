"""A certificate for relays that serve TLS on this machine."""

import subprocess
from pathlib import Path


def self_signed(directory: Path) -> tuple[Path, Path]:
    """An ECDSA P-256 certificate for 127.0.0.1 and its key, made when first asked for."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    if not certificate.exists():
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
        name = ("-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1")
        files = ("-keyout", str(key), "-out", str(certificate))
        command = ["openssl", "req", "-x509", *kind, *name, *files]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
    return certificate, key
