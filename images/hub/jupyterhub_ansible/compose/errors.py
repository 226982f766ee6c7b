"""What stops the Hub from starting as a Compose application."""


class ComposeError(Exception):
    """Something around the Hub is not as it must be; `str()` says what, and what mends it."""
