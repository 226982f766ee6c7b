"""Guesses at passwords are slowed down, and nobody is locked out everywhere.

Failed logins are counted by client address and name together, by address, and by name. Each count leaks: a few may
follow each other at once, and more come through one by one. Whoever gives the right password from another address is
not kept waiting by what an attacker does; nor, at the attacker's own address, is whoever logged in from there before,
unless it is that name that is guessed at. Anybody else at that address waits for what leaks, and as long as somebody
guesses there without a pause, others may be faster: it is not told apart which names exist, or guesses would show it.
Counts are in memory, so a restart of the Hub clears them.
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
"""Entries of each table; the one that was used least recently goes first."""


@dataclass(frozen=True)
class Leak:
    """How many failures may follow each other at once, and the seconds until one of them no longer counts."""

    at_once: int
    seconds: float


PAIR = Leak(5, 30)
"""Of one address at one name."""
ADDRESS = Leak(50, 2)
"""Of one address at all names: a whole company may share it."""
RUNNING = 250
"""Logins that one address may try at the same time: those that fail count, however many there were."""
NAME = Leak(20, 10)
"""Of all addresses at one name: beyond it, each address has a single guess at once."""


class TooManyGuessesError(PageError):
    """A login is not even tried; `wait_s` is when it may be."""

    def __init__(self, wait_s: float) -> None:
        seconds = max(1, math.ceil(wait_s))
        super().__init__(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"Too many failed logins. Please try again in {seconds} second{'s' if seconds > 1 else ''}.",
        )
        self.headers = {"Retry-After": str(seconds)}


class _Counts:
    """Counts that leak, by key; as many as `MOST`."""

    def __init__(self, leak: Leak) -> None:
        self._leak = leak
        self._counts: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def level(self, key: Hashable, now: float) -> float:
        count, since = self._counts.get(key, (0.0, now))
        return max(0.0, count - (now - since) / self._leak.seconds)

    def wait(self, key: Hashable, now: float, at_once: int | None = None) -> float:
        """Return the seconds until one more may be counted."""
        room = (self._leak.at_once if at_once is None else at_once) - self.level(key, now)
        return max(0.0, (1 - room) * self._leak.seconds)

    def add(self, key: Hashable, now: float, count: float) -> None:
        level = max(0.0, self.level(key, now) + count)
        self._counts.pop(key, None)
        if level:
            self._counts[key] = (level, now)
        if len(self._counts) > MOST:
            self._counts.popitem(last=False)

    def clear(self, key: Hashable) -> None:
        self._counts.pop(key, None)


def _network(address: str) -> str:
    """What one client has: an address, or with IPv6 a /64."""
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
    """A key of a fixed size, whatever a client sends for a name."""
    return hashlib.blake2b("\0".join(words).encode(errors="replace"), digest_size=16).digest()


class Guess:
    """A login that is tried; it is over by one of these."""

    def __init__(self, guesses: "Guesses", address: str, pair: bytes, name: bytes) -> None:
        self._guesses = guesses
        self._address, self._pair, self._name = address, pair, name
        guesses.running[address] += 1

    def _end(self) -> float:
        self._guesses.running[self._address] -= 1
        # Addresses that try nothing are not kept.
        self._guesses.running += Counter()
        return self._guesses.clock()

    def undo(self) -> None:
        """Do not count it: whether the password is right was not found out."""
        now = self._end()
        if self._name:
            self._guesses.pairs.add(self._pair, now, -1)
            self._guesses.names.add(self._name, now, -1)

    def failed(self) -> None:
        """Count it as wrong, at its address as well."""
        self._guesses.addresses.add(self._address, self._end(), 1)

    def succeeded(self) -> None:
        """Count it as right, with those before it at this address."""
        self.undo()
        if self._name:
            self._guesses.pairs.clear(self._pair)
            self._guesses.known(self._pair)


class Guesses:
    """The logins that failed, and those that are tried."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.pairs, self.addresses, self.names = _Counts(PAIR), _Counts(ADDRESS), _Counts(NAME)
        self.running: Counter[str] = Counter()
        """By address; most of them will be right, so they are no failures yet."""
        self._known: OrderedDict[bytes, None] = OrderedDict()
        """Names that were logged in by, each with the address: they do not share in what others do there."""

    def known(self, pair: bytes) -> None:
        """Remember that a name logged in from an address."""
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def begin(self, address: str, name: str) -> Guess:
        """Begin to try a login; its name is counted before, so that many at the same time are not many guesses.

        Without a name (a form may have no such field) it counts by its address only: all would have the same one.

        Raises:
            TooManyGuessesError: it must not be tried yet. It is not counted.
        """
        now, network, name = self.clock(), _network(address), name.strip().lower()
        named, pair = (_digest(name), _digest(network, name)) if name else (b"", b"")
        known = pair in self._known
        wait = 0 if known else self.addresses.wait(network, now)
        if self.running[network] >= RUNNING:
            wait = max(wait, ADDRESS.seconds)
        if name:
            hot = self.names.level(named, now) >= NAME.at_once and not known
            wait = max(wait, self.pairs.wait(pair, now, at_once=1 if hot else None))
        if wait:
            raise TooManyGuessesError(wait)
        if name:
            self.pairs.add(pair, now, 1)
            self.names.add(named, now, 1)
        return Guess(self, network, pair, named)


SHARED = Guesses()
"""Of this Hub."""
