"""What keeps GitHub from answering: rate limits and outages."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Window:
    """The requests of one user until the limit is reset."""

    resets_at: int
    used: int = 0


@dataclass
class RateLimit:
    """The primary limit: requests of a user in a window of time."""

    limit: int = 5000
    window_s: int = 3600
    windows: dict[int, Window] = field(default_factory=dict)

    def window(self, user_id: int, now: float) -> Window:
        """Return the window of a request at this time."""
        window = self.windows.get(user_id)
        if window is None or now >= window.resets_at:
            window = self.windows[user_id] = Window(int(now) + self.window_s)
        return window


@dataclass(frozen=True)
class SecondaryLimit:
    """The secondary limit, for too many requests at once: all API requests are refused until it is lifted."""

    status: int = 403
    retry_after_s: int | None = 60


@dataclass(frozen=True)
class Outage:
    """GitHub is down: it answers late, with an error, or both."""

    status: int | None = 503
    """None: the right answer, but late."""

    delay_s: float = 0
    below: str = "/"
    """Only paths that start with this."""
