"""Checks whether a certificate and its key can be used for a host."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def certificate_problem(files: dict[str, str], host: str) -> str:
    """Return why a certificate and its key cannot be used for a host, "" if they can be used or are missing."""
    certificate, key = files.get("certificate_file"), files.get("key_file")
    if not (certificate and key and Path(certificate).is_file() and Path(key).is_file()):
        return ""
    try:
        # Without this, OpenSSL would ask for a passphrase on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if "MISMATCH" in str(error):
            return "the key belongs to another certificate"
        return "one of them is not a PEM file, or the key has a passphrase"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    # openssl answers one question per call.
    if "NOT match" in openssl(certificate, "-checkhost", host):
        return f"it is not for {host}"
    answer = openssl(certificate, "-checkend", "0")
    if not answer:
        return "the machine has no openssl to read it with (apt-get install openssl)"
    return "it has expired" if "will expire" in answer else ""


def openssl(certificate: str, *question: str) -> str:
    """Return what openssl answers about a certificate, "" if it is not installed."""
    command = ["openssl", "x509", "-in", certificate, "-noout", *question]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
