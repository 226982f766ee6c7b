"""Which server has which address of the users' network: the Hub chooses it, and gives it to nobody else too soon.

Docker gives the lowest free address.  That of a server that just ended would go to the next one that starts, while the
proxy still leads to it.  The table lies in the Hub's database, so that a restart forgets no hold.
"""

import ipaddress
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import Float, Unicode, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

HOLD_S = 300
"""So long after its server's end an address is kept from other servers."""
OWN_AT_MOST = 4
"""Servers of one user that end and start again and again hold so many; then they get the oldest of them back."""
SCARCE_SHARE = 4
"""While less than this share of all addresses (one in so many) is free, who holds some gets those back at once."""
# What Docker's address management says (libnetwork/ipamapi) where the address was given to another container.
_CLASH = "address already in use"


class _Base(DeclarativeBase):
    pass


class Address(_Base):
    """An address that a server has, or had last."""

    __tablename__ = "jupyterhub_ansible_server_addresses"

    address: Mapped[str] = mapped_column(Unicode(45), primary_key=True)
    holder: Mapped[str] = mapped_column(Unicode(255))
    """Name of the server's container: nobody else's server can have it (naming)."""
    owner: Mapped[str] = mapped_column(Unicode(255))
    """Name of its user, whose own servers may have it at any time."""
    released: Mapped[float | None] = mapped_column(Float, default=None)
    """When its server ended, in seconds since 1970; None while it has the address."""


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _or_undone(step: "Callable[Concatenate[Addresses, _P], _R]") -> "Callable[Concatenate[Addresses, _P], _R]":
    """Undo what failed: the session, which is the Hub's, takes nothing more before ("database is locked", for one)."""

    @wraps(step)
    def tried(self: "Addresses", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return step(self, *args, **kwargs)
        except SQLAlchemyError:
            self._db.rollback()
            raise

    return tried


class Addresses:
    """The addresses of all users' servers.

    Every method is one step of the event loop's thread: of two starts at once, the second finds what the first took.

    Args:
        db: a session of the Hub's database.
        clock: seconds since 1970.
    """

    def __init__(self, db: Session, clock: Callable[[], float] = time.time) -> None:
        self._db, self._clock = db, clock
        _Base.metadata.create_all(db.get_bind())

    @_or_undone
    def take(
        self, holder: str, candidates: Sequence[str], in_use: Collection[str], wanted: str = "", owner: str = ""
    ) -> str | None:
        """Give a server an address; the one that was not used for longest.

        Args:
            holder: the server's container.
            candidates: addresses that servers may have.
            in_use: those that a container, a route or another server has, whatever the table says.
            wanted: is given, if it can be.
            owner: the server's user; without one, nobody's other server gets what this one held.

        Returns:
            None where there is none.
        """
        known = {each.address: each for each in self._db.scalars(select(Address))}
        free = [each for each in candidates if each not in in_use and self._is_free(known.get(each), holder, wanted)]
        own = [each for each in candidates if each not in in_use and self._is_own(known.get(each), owner or holder)]
        if wanted in free:
            free = [wanted]
        elif own and (len(own) >= OWN_AT_MOST or SCARCE_SHARE * len(free) < len(candidates)):
            free = own
        if not free:
            return None
        # Those that nobody had yet come first, in their order.
        chosen = min(free, key=lambda each: self._last_use(known.get(each)))
        self._store(holder, chosen, owner)
        return chosen

    def _holds(self, row: Address) -> bool:
        # A clock that was set back must not hold it for hours.
        return row.released is None or abs(self._clock() - row.released) < HOLD_S

    def _is_free(self, row: Address | None, holder: str, wanted: str) -> bool:
        return row is None or not self._holds(row) or (row.address == wanted and row.holder == holder)

    def _is_own(self, row: Address | None, owner: str) -> bool:
        return row is not None and row.owner == owner and row.released is not None and self._holds(row)

    def _last_use(self, row: Address | None) -> float:
        return float("-inf") if row is None or row.released is None else row.released

    @_or_undone
    def keep(self, holder: str, address: str, owner: str = "") -> bool:
        """Take down that a server has an address which it was not given here; False if that is another one's."""
        row = self._db.get(Address, address)
        if row is not None and row.holder != holder and self._holds(row):
            return False
        if row is None or row.holder != holder or row.released is not None:
            self._store(holder, address, owner)
        return True

    def _store(self, holder: str, address: str, owner: str) -> None:
        self._release(select(Address).where(Address.holder == holder))
        row = self._db.get(Address, address) or Address(address=address)
        row.holder, row.owner, row.released = holder, owner or holder, None
        self._db.add(row)
        self._db.commit()

    @_or_undone
    def block(self, address: str, holder: str) -> None:
        """Hold an address that Docker gave to somebody else."""
        row = self._db.get(Address, address) or Address(address=address)
        row.holder, row.owner, row.released = holder, holder, self._clock()
        self._db.add(row)
        self._db.commit()

    @_or_undone
    def release(self, holder: str) -> None:
        """A server has ended; its address is held for a while."""
        if self._release(select(Address).where(Address.holder == holder)):
            self._db.commit()

    @_or_undone
    def settle(self, holders: Collection[str]) -> None:
        """Release what servers have that are not among `holders`: a Hub that ended could not say that they did."""
        if self._release(select(Address).where(Address.holder.not_in(holders))):
            self._db.commit()

    def _release(self, of: Any) -> bool:
        rows = list(self._db.scalars(of.where(Address.released.is_(None))))
        for row in rows:
            row.released = self._clock()
        return bool(rows)


@lru_cache(maxsize=8)
def _hosts(servers: str, subnet: str, reserved: frozenset[str]) -> tuple[str, ...]:
    outer = ipaddress.IPv4Network(subnet)
    taken = {str(outer.network_address), str(outer.broadcast_address), *reserved}
    return tuple(found for each in ipaddress.IPv4Network(servers).hosts() if (found := str(each)) not in taken)


def candidates(network: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses that containers may draw from a network, as Docker describes it; IPv4 only."""
    found: tuple[str, ...] = ()
    for pool in network["IPAM"]["Config"] or []:
        subnet = str(pool.get("Subnet", ""))
        if subnet and ":" not in subnet:
            others = (pool.get("AuxiliaryAddresses") or {}).values()
            reserved = frozenset(str(each) for each in (pool.get("Gateway"), *others) if each)
            found += _hosts(str(pool.get("IPRange") or subnet), subnet, reserved)
    return found


def of_containers(containers: Iterable[Mapping[str, Any]], network: str, besides: str) -> set[str]:
    """Return the addresses that containers have on a network, or want when they are started again.

    Args:
        containers: as Docker lists them, stopped ones too.
        network: its name.
        besides: id of the one that asks.
    """
    found: set[str] = set()
    for container in containers:
        endpoint = (container["NetworkSettings"]["Networks"] or {}).get(network)
        if endpoint and container["Id"] != besides:
            found |= {endpoint.get("IPAddress") or "", (endpoint.get("IPAMConfig") or {}).get("IPv4Address") or ""}
    return found - {""}


def of_routes(routes: Mapping[str, Mapping[str, Any]], besides: str) -> set[str]:
    """Return the hosts that the proxy's routes lead to, but for that of one's own."""
    targets = (route["target"] for spec, route in routes.items() if spec != besides)
    return {urlsplit(target).hostname or "" for target in targets}


def is_clash(error: Exception) -> bool:
    """Whether Docker refused an address since another container has it: one that it chose one for itself."""
    return _CLASH in str(getattr(error, "explanation", None) or error).lower()


def endpoint(network: str, address: str) -> dict[str, Any]:
    """Return the part of a container's description that gives it an address (`networking_config` of docker-py)."""
    return {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}}}}


def misplaced(
    container: Mapping[str, Any] | None, identity: str, labels: Mapping[str, str], network: str, address: str | None
) -> str:
    """Return why a server is not at an address; "" if its container, by id and labels, runs and has it.

    Args:
        container: as Docker describes it (inspect), or lists it; None if there is none.
        identity: id of the server's container.
        labels: that it must carry.
        network: of users' servers.
        address: where the server is said to be; None if it is not reached by its own.
    """
    if container is None or container["Id"] != identity:
        return "its container is gone"
    found = container["Config"]["Labels"] if "Config" in container else container["Labels"]
    if not (found or {}).items() >= labels.items():
        return "its container has not our labels"
    state = container["State"]
    if not (state["Running"] if isinstance(state, Mapping) else state in ("running", "paused")):
        return "its container does not run"
    held = ((container["NetworkSettings"]["Networks"] or {}).get(network) or {}).get("IPAddress")
    if address is None:
        return ""
    if not address or held != address:
        return f"its container has {held or 'no address'}, not {address or 'any that is known'}"
    return ""
