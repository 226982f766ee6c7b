"""A clock that a test advances."""


class Clock:
    """Seconds, for code that takes a clock as a function."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now
