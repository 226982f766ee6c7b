"""Secrets for tests of the Hub's own code."""

import hashlib


def secret(number: int) -> str:
    """64 hexadecimal digits, always the same of a number; the files' are those of their places in `SECRET_NAMES`."""
    return hashlib.sha256(str(number).encode()).hexdigest()
