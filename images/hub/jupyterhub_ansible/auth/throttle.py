"""Throttling of login attempts: guessing passwords is slow, but nobody is locked out.

Failed logins are counted in leaky buckets by address and name together, by address, and by name: a few may fail in a
burst, then one at a time. An attacker does not delay users with the right password at other addresses, nor those who
logged in from the attacker's address before, unless their own name is guessed at. All others at that address wait, and
compete with the attacker for each attempt: existing and unknown names are treated alike, or the delay would reveal
which names exist. Counts are in memory, so a restart of the Hub clears them.
"""

import hashlib
import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from http import HTTPStatus

from ..web.errors import PageError

MOST = 10_000
"""Maximum entries of each table; the least recently used one is dropped first."""


@dataclass(frozen=True)
class LeakyBucket:
    """How many failures may come in a burst, and the seconds after which one of them no longer counts."""

    burst: int
    seconds: float


PAIR = LeakyBucket(5, 30)
"""For one name from one address."""
ADDRESS = LeakyBucket(50, 2)
"""For all names from one address, which a whole company may share."""
RUNNING = 250
"""Concurrent login attempts from one address: those that fail are counted only afterwards."""
NAME = LeakyBucket(20, 10)
"""For one name from all addresses: beyond it, each address has a burst of one."""


class TooManyAttemptsError(PageError):
    """The login was not attempted; it may be after `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        seconds = max(1, math.ceil(wait_s))
        super().__init__(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"Too many failed logins. Please try again in {seconds} second{'s' if seconds > 1 else ''}.",
        )
        self.headers = {"Retry-After": str(seconds)}


class _Buckets:
    """Leaky buckets by key, at most `MOST`."""

    def __init__(self, limit: LeakyBucket) -> None:
        self._limit = limit
        self._counts: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def level(self, key: Hashable, now: float) -> float:
        count, since = self._counts.get(key, (0.0, now))
        return max(0.0, count - (now - since) / self._limit.seconds)

    def wait(self, key: Hashable, now: float, burst: int | None = None) -> float:
        """Return the seconds until there is room for one more."""
        room = (self._limit.burst if burst is None else burst) - self.level(key, now)
        return max(0.0, (1 - room) * self._limit.seconds)

    def add(self, key: Hashable, now: float, count: float) -> None:
        level = max(0.0, self.level(key, now) + count)
        self._counts.pop(key, None)
        if level:
            self._counts[key] = (level, now)
        if len(self._counts) > MOST:
            self._counts.popitem(last=False)

    def clear(self, key: Hashable) -> None:
        self._counts.pop(key, None)


def network_of(address: str) -> str:
    """Return a client's network: its IPv4 address, or its IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def _digest(*words: str) -> bytes:
    """Return a key of fixed size, however long a name the client sends."""
    return hashlib.blake2b("\0".join(words).encode(errors="replace"), digest_size=16).digest()


class LoginAttempt:
    """A login attempt under way; one of its methods ends it."""

    def __init__(self, throttle: "LoginThrottle", address: str, pair: bytes, name: bytes) -> None:
        self._throttle = throttle
        self._address, self._pair, self._name = address, pair, name
        throttle.running[address] += 1

    def _end(self) -> float:
        self._throttle.running[self._address] -= 1
        # Drops addresses without attempts.
        self._throttle.running += Counter()
        return self._throttle.clock()

    def undo(self) -> None:
        """Do not count it, because the password could not be checked."""
        now = self._end()
        if self._name:
            self._throttle.pairs.add(self._pair, now, -1)
            self._throttle.names.add(self._name, now, -1)

    def failed(self) -> None:
        """Count it as failed, for its address as well."""
        self._throttle.addresses.add(self._address, self._end(), 1)

    def succeeded(self) -> None:
        """Clear the failures of this name from this address."""
        self.undo()
        if self._name:
            self._throttle.pairs.clear(self._pair)
            self._throttle.known(self._pair)


class LoginThrottle:
    """Failed logins, and attempts under way."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.pairs, self.addresses, self.names = _Buckets(PAIR), _Buckets(ADDRESS), _Buckets(NAME)
        self.running: Counter[str] = Counter()
        """Attempts under way, by address; not counted as failures, because most will succeed."""
        self._known: OrderedDict[bytes, None] = OrderedDict()
        """Pairs of name and address that logged in before; other names' failures do not delay them."""

    def known(self, pair: bytes) -> None:
        """Remember a successful login by name and address."""
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def begin(self, address: str, name: str) -> LoginAttempt:
        """Begin a login attempt; it is counted for its name in advance, so that concurrent attempts gain nothing.

        Without a name (a form may lack the field), only its address counts.

        Raises:
            TooManyAttemptsError: it must wait; it is not counted.
        """
        now, network, name = self.clock(), network_of(address), name.strip().lower()
        named, pair = (_digest(name), _digest(network, name)) if name else (b"", b"")
        known = pair in self._known
        wait = 0 if known else self.addresses.wait(network, now)
        if self.running[network] >= RUNNING:
            wait = max(wait, ADDRESS.seconds)
        if name:
            hot = self.names.level(named, now) >= NAME.burst and not known
            wait = max(wait, self.pairs.wait(pair, now, burst=1 if hot else None))
        if wait:
            raise TooManyAttemptsError(wait)
        if name:
            self.pairs.add(pair, now, 1)
            self.names.add(named, now, 1)
        return LoginAttempt(self, network, pair, named)


SHARED = LoginThrottle()
"""The instance of this Hub."""
