"""What keeps GitHub from answering: limits, and its being down."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Window:
    """The requests of one user until the limit is counted anew."""

    resets_at: int
    used: int = 0


@dataclass
class RateLimit:
    """The primary limit: requests of a user in a window of time."""

    limit: int = 5000
    window_s: int = 3600
    windows: dict[int, Window] = field(default_factory=dict)

    def window(self, user_id: int, now: float) -> Window:
        """Return the window that a request of now falls into."""
        window = self.windows.get(user_id)
        if window is None or now >= window.resets_at:
            window = self.windows[user_id] = Window(int(now) + self.window_s)
        return window


@dataclass(frozen=True)
class SecondaryLimit:
    """GitHub thinks that too much is asked at once: every request of the API is refused until this is lifted."""

    status: int = 403
    retry_after_s: int | None = 60


@dataclass(frozen=True)
class Outage:
    """GitHub is down: it answers late, with an error, or both."""

    status: int | None = 503
    """None: the right answer, late."""

    delay_s: float = 0
    below: str = "/"
    """Only addresses that begin with this."""
