"""Address allocation on the users' network: the Hub chooses a server's address, and does not reuse it too soon.

Docker assigns the lowest free address: a server that starts would get the one of a server that has just ended, while
the proxy still has a route to it.  The table is in the Hub's database, so that held addresses survive a restart.
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
"""How long an address is held after its server ended."""
OWN_AT_MOST = 4
"""Addresses that the ended servers of one user may hold; then the user's next server reuses the oldest."""
SCARCE_SHARE = 4
"""While less than one in so many of all addresses is free, users reuse their own held ones at once."""
# Docker's message (libnetwork/ipamapi) when another container has the address.
_CLASH = "address already in use"


class _Base(DeclarativeBase):
    pass


class Address(_Base):
    """An address that a server has, or had last."""

    __tablename__ = "jupyterhub_ansible_server_addresses"

    address: Mapped[str] = mapped_column(Unicode(45), primary_key=True)
    holder: Mapped[str] = mapped_column(Unicode(255))
    """Name of the server's container, which is unique to it (naming)."""
    owner: Mapped[str] = mapped_column(Unicode(255))
    """Name of its user, whose other servers may reuse the address."""
    released: Mapped[float | None] = mapped_column(Float, default=None)
    """When its server ended, in seconds since 1970; None while the server has the address."""


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _or_undone(step: "Callable[Concatenate[Addresses, _P], _R]") -> "Callable[Concatenate[Addresses, _P], _R]":
    """Roll back on failure ("database is locked", for example): the Hub's own session is unusable until then."""

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

    Methods run on the event loop's thread without awaiting, so concurrent starts cannot take the same address.

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
        """Give a server an address, preferably the least recently used one.

        Args:
            holder: the server's container.
            candidates: addresses that servers may have.
            in_use: addresses of containers, routes and other servers, whatever the table says.
            wanted: the preferred address.
            owner: the server's user; by default the server itself.

        Returns:
            None if no address is free.
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
        # Never used ones come first, in their order.
        chosen = min(free, key=lambda each: self._last_use(known.get(each)))
        self._store(holder, chosen, owner)
        return chosen

    def _holds(self, row: Address) -> bool:
        # abs(): a clock that was set back must not hold it for hours.
        return row.released is None or abs(self._clock() - row.released) < HOLD_S

    def _is_free(self, row: Address | None, holder: str, wanted: str) -> bool:
        return row is None or not self._holds(row) or (row.address == wanted and row.holder == holder)

    def _is_own(self, row: Address | None, owner: str) -> bool:
        return row is not None and row.owner == owner and row.released is not None and self._holds(row)

    def _last_use(self, row: Address | None) -> float:
        return float("-inf") if row is None or row.released is None else row.released

    @_or_undone
    def keep(self, holder: str, address: str, owner: str = "") -> bool:
        """Record that a server has an address not allocated here; False if the address is another server's."""
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
        """Hold an address that Docker gave to another container."""
        row = self._db.get(Address, address) or Address(address=address)
        row.holder, row.owner, row.released = holder, holder, self._clock()
        self._db.add(row)
        self._db.commit()

    @_or_undone
    def release(self, holder: str) -> None:
        """Hold the address of a server that ended."""
        if self._release(select(Address).where(Address.holder == holder)):
            self._db.commit()

    @_or_undone
    def settle(self, holders: Collection[str]) -> None:
        """Release the addresses of all servers but `holders`: some may have ended while the Hub was down."""
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
    """Return the IPv4 addresses that a network, as from `inspect_network`, has for containers."""
    found: tuple[str, ...] = ()
    for pool in network["IPAM"]["Config"] or []:
        subnet = str(pool.get("Subnet", ""))
        if subnet and ":" not in subnet:
            others = (pool.get("AuxiliaryAddresses") or {}).values()
            reserved = frozenset(str(each) for each in (pool.get("Gateway"), *others) if each)
            found += _hosts(str(pool.get("IPRange") or subnet), subnet, reserved)
    return found


def of_containers(containers: Iterable[Mapping[str, Any]], network: str, besides: str) -> set[str]:
    """Return the addresses that containers have on a network, or will have when started again.

    Args:
        containers: as Docker lists them, including stopped ones.
        network: its name.
        besides: id of the container to leave out.
    """
    found: set[str] = set()
    for container in containers:
        endpoint = (container["NetworkSettings"]["Networks"] or {}).get(network)
        if endpoint and container["Id"] != besides:
            found |= {endpoint.get("IPAddress") or "", (endpoint.get("IPAMConfig") or {}).get("IPv4Address") or ""}
    return found - {""}


def of_routes(routes: Mapping[str, Mapping[str, Any]], besides: str) -> set[str]:
    """Return the hosts that the proxy's routes lead to, except the route `besides`."""
    targets = (route["target"] for spec, route in routes.items() if spec != besides)
    return {urlsplit(target).hostname or "" for target in targets}


def is_clash(error: Exception) -> bool:
    """Whether Docker refused an address because it gave it to another container."""
    return _CLASH in str(getattr(error, "explanation", None) or error).lower()


def endpoint(network: str, address: str) -> dict[str, Any]:
    """Return the `networking_config` of docker-py that gives a container its address."""
    return {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}}}}


def misplaced(
    container: Mapping[str, Any] | None, identity: str, labels: Mapping[str, str], network: str, address: str | None
) -> str:
    """Return why a server is not at its address; "" if its container runs there, with the right id and labels.

    Args:
        container: as Docker inspects or lists it; None if there is none.
        identity: id of the server's container.
        labels: those that it must have.
        network: of users' servers.
        address: where the server should be; None if it is reached by a port or a name instead.
    """
    if container is None or container["Id"] != identity:
        return "its container is gone"
    found = container["Config"]["Labels"] if "Config" in container else container["Labels"]
    if not (found or {}).items() >= labels.items():
        return "its container lacks our labels"
    state = container["State"]
    if not (state["Running"] if isinstance(state, Mapping) else state in ("running", "paused")):
        return "its container is not running"
    held = ((container["NetworkSettings"]["Networks"] or {}).get(network) or {}).get("IPAddress")
    if address is None:
        return ""
    if not address or held != address:
        return f"its container has {held or 'no address'}, not {address or 'a known one'}"
    return ""
