"""Address allocation: no server gets an address that something still refers to."""

import random
from functools import partial
from typing import Any

import pytest
from docker.errors import APIError
from fake_clock import Clock
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.spawner import address_pool
from jupyterhub_ansible.spawner.address_pool import HOLD_S, OWN_AT_MOST, Address, Addresses
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

POOL = tuple(f"10.0.0.{number}" for number in range(1, 11))


@pytest.fixture
def db() -> Session:
    return Session(create_engine("sqlite://"))


@pytest.fixture
def table(db: Session, clock: Clock) -> Addresses:
    return Addresses(db, clock)


def test_a_burst_of_starts_and_ends(table: Addresses, clock: Clock) -> None:
    """No server gets an address that another has, or had within the hold."""
    dice, pool = random.Random(12), [f"10.0.{third}.{fourth}" for third in range(4) for fourth in range(1, 255)]
    has: dict[str, str] = {}
    had: dict[str, tuple[str, float]] = {}
    for _ in range(600):
        clock.now += dice.uniform(0, 2)
        user = f"user{dice.randrange(50)}"
        if user in has:
            had[has.pop(user)] = user, clock.now
            table.release(user)
            continue
        address = table.take(user, pool, ())
        assert address
        assert address not in has.values()
        holder, since = had.get(address, (user, 0.0))
        assert holder == user or clock.now - since >= HOLD_S
        has[user] = address


def test_least_recently_used_address_is_given(table: Addresses, clock: Clock) -> None:
    for number in range(10):
        assert table.take(f"user{number}", POOL, ()) == POOL[number]
    for number in (3, 1, 2):
        clock.now += 1
        table.release(f"user{number}")
    assert table.take("another", POOL, ()) is None
    clock.now += HOLD_S
    assert [table.take(name, POOL, ()) for name in ("a", "b", "c", "d")] == [POOL[3], POOL[1], POOL[2], None]


def test_addresses_of_containers_routes_and_servers_are_not_given(table: Addresses) -> None:
    assert table.take("alice", POOL, {POOL[0], POOL[1]}) == POOL[2]
    assert table.take("bob", POOL, set(POOL)) is None


def test_address_is_held_for_five_minutes_across_a_restart(db: Session, table: Addresses, clock: Clock) -> None:
    table.take("alice", POOL[:1], ())
    table.release("alice")
    clock.now += HOLD_S - 1
    assert Addresses(db, clock).take("bob", POOL[:1], ()) is None
    clock.now += 1
    assert Addresses(db, clock).take("bob", POOL[:1], ()) == POOL[0]


def test_a_hub_that_was_killed_between_create_and_start(db: Session, table: Addresses, clock: Clock) -> None:
    """It could not release the address; the next Hub holds it from its start."""
    table.take("alice", POOL[:2], ())
    table.take("bob", POOL[:2], ())
    clock.now += 10 * HOLD_S
    after = Addresses(db, clock)
    assert after.take("carl", POOL[:2], ()) is None
    after.settle(["bob"])
    assert after.take("carl", POOL[:2], ()) is None
    clock.now += HOLD_S
    assert after.take("carl", POOL[:2], ()) == POOL[0]


def test_clock_that_was_set_back_does_not_hold_addresses_for_hours(table: Addresses, clock: Clock) -> None:
    table.take("alice", POOL[:1], ())
    table.release("alice")
    clock.now -= 10 * HOLD_S
    assert table.take("bob", POOL[:1], ()) == POOL[0]


def test_restarting_repeatedly_does_not_exhaust_addresses(table: Addresses) -> None:
    used = set()
    for _ in range(30):
        used.add(table.take("mallory", POOL, ()))
        table.release("mallory")
    assert len(used) == OWN_AT_MOST
    assert table.take("alice", POOL, ()) == POOL[OWN_AT_MOST]


def test_creating_new_servers_does_not_exhaust_addresses(table: Addresses) -> None:
    used = set()
    for number in range(30):
        used.add(table.take(f"mallory--{number}", POOL, (), owner="mallory"))
        table.release(f"mallory--{number}")
    assert len(used) == OWN_AT_MOST
    assert table.take("alice", POOL, (), owner="alice") == POOL[OWN_AT_MOST]


def test_while_addresses_are_scarce_own_held_ones_are_reused(table: Addresses) -> None:
    for number in range(8):
        table.take(f"user{number}", POOL, ())
    table.release("user3")
    # Two of ten are free.
    assert table.take("user3--other", POOL, (), owner="user3") == POOL[3]
    assert table.take("another", POOL, ()) == POOL[8]


def test_wanted_address_takes_precedence_over_own_held_ones(table: Addresses) -> None:
    for _ in range(OWN_AT_MOST):
        table.take("mallory", POOL, ())
        table.release("mallory")
    assert table.take("mallory", POOL, (), wanted=POOL[9]) == POOL[9]


def test_own_address_in_use_is_not_given(table: Addresses) -> None:
    assert table.take("alice--a", POOL[:1], (), owner="alice")
    assert table.take("alice--b", POOL[:1], (), owner="alice") is None


def test_reconnected_server_gets_its_own_address(table: Addresses) -> None:
    own = table.take("alice", POOL, ())
    assert own
    table.take("bob", POOL, ())
    assert table.take("alice", POOL, (), wanted=own) == own
    table.release("alice")
    assert table.take("alice", POOL, (), wanted=own) == own
    assert table.take("carl", POOL, (), wanted=own) == POOL[2]


def test_address_given_by_docker(table: Addresses, clock: Clock) -> None:
    assert table.keep("alice", POOL[0])
    assert not table.keep("bob", POOL[0])
    assert table.keep("alice", POOL[1])
    # The previous one is held now.
    assert not table.keep("bob", POOL[0])
    clock.now += HOLD_S
    assert table.keep("bob", POOL[0])


def test_clashing_address_is_not_retried_at_once(table: Addresses) -> None:
    first = table.take("alice", POOL, ())
    assert first
    table.block(first, "not alice")
    assert table.take("alice", POOL, ()) == POOL[1]


def test_works_again_after_a_locked_database(db: Session, table: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that was not rolled back is unusable."""
    table.take("alice", POOL, ())
    db.execute(
        text("CREATE TRIGGER locked BEFORE UPDATE ON " + Address.__tablename__ + " BEGIN SELECT RAISE(FAIL, 'x'); END")
    )
    for step in (partial(table.release, "alice"), partial(table.settle, [])):
        with pytest.raises(SQLAlchemyError):
            step()
        assert not db.new | db.dirty
        assert table.keep("alice", POOL[0])
    db.execute(text("DROP TRIGGER locked"))
    table.release("alice")
    assert table.take("bob", POOL[:1], ()) is None


# --- answers of Docker and the proxy


def network(**pool: Any) -> dict[str, Any]:
    return {"IPAM": {"Config": [pool]}}


def test_candidates_match_dockers_pool() -> None:
    small = network(Subnet="10.214.1.0/24", IPRange="10.214.1.128/25", Gateway="10.214.1.1")
    found = address_pool.candidates(small)
    assert (len(found), found[0], found[-1]) == (126, "10.214.1.129", "10.214.1.254")
    large = address_pool.candidates(network(Subnet="10.213.0.0/20", IPRange="10.213.8.0/21", Gateway="10.213.0.1"))
    assert (len(large), large[0], large[-1]) == (2046, "10.213.8.1", "10.213.15.254")


def test_candidates_of_a_foreign_network() -> None:
    theirs = network(Subnet="10.1.0.0/29", Gateway="10.1.0.1", AuxiliaryAddresses={"printer": "10.1.0.3"})
    assert address_pool.candidates(theirs) == ("10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.6")
    assert address_pool.candidates(network(Subnet="fd00::/64")) == ()
    assert address_pool.candidates({"IPAM": {"Config": None}}) == ()


def container(name: str, **endpoint: Any) -> dict[str, Any]:
    return {"Id": name, "NetworkSettings": {"Networks": {"users": endpoint}}}


def test_addresses_of_stopped_containers_count() -> None:
    running = container("a", IPAddress="10.0.0.1", IPAMConfig=None)
    stopped = container("b", IPAddress="", IPAMConfig={"IPv4Address": "10.0.0.2"})
    mine = container("c", IPAddress="10.0.0.3")
    elsewhere = {"Id": "d", "NetworkSettings": {"Networks": {"other": {"IPAddress": "10.0.0.4"}}}}
    without = {"Id": "e", "NetworkSettings": {"Networks": None}}
    found = address_pool.of_containers([running, stopped, mine, elsewhere, without], "users", "c")
    assert found == {"10.0.0.1", "10.0.0.2"}


def test_addresses_of_routes() -> None:
    routes = {
        "/": {"target": "http://hub:8081"},
        "/user/alice/": {"target": "http://10.0.0.1:8888"},
        "/user/bob/": {"target": "http://10.0.0.2:8888"},
    }
    assert address_pool.of_routes(routes, "/user/bob/") == {"hub", "10.0.0.1"}


def test_dockers_message_for_a_clash() -> None:
    assert address_pool.is_clash(APIError("403", explanation="Address already in use"))
    assert not address_pool.is_clash(APIError("500", explanation="no space left on device"))


OURS = labels("jh", "user-server", "alice", "")
PLACE = {"users": {"IPAddress": "10.0.0.1"}}
RUNS: dict[str, Any] = {
    "Id": "1",
    "Config": {"Labels": OURS},
    "State": {"Running": True},
    "NetworkSettings": {"Networks": PLACE},
}
LISTED: dict[str, Any] = {"Id": "1", "Labels": OURS, "State": "running", "NetworkSettings": {"Networks": PLACE}}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (RUNS, ""),
        (LISTED, ""),
        ({**LISTED, "State": "paused"}, ""),
        (None, "is gone"),
        ({**RUNS, "Id": "2"}, "is gone"),
        ({**RUNS, "Config": {"Labels": labels("jh", "user-server", "bob", "")}}, "lacks our labels"),
        ({**LISTED, "Labels": None}, "lacks our labels"),
        ({**RUNS, "State": {"Running": False}}, "is not running"),
        ({**LISTED, "State": "exited"}, "is not running"),
        ({**RUNS, "NetworkSettings": {"Networks": {"users": {"IPAddress": "10.0.0.2"}}}}, "has 10.0.0.2, not 10.0.0.1"),
        ({**RUNS, "NetworkSettings": {"Networks": {}}}, "has no address"),
    ],
)
def test_misplaced_servers(found: dict[str, Any] | None, why: str) -> None:
    told = address_pool.misplaced(found, "1", OURS, "users", "10.0.0.1")
    assert why in told
    assert bool(told) == bool(why)


def test_server_without_an_address_is_misplaced() -> None:
    assert address_pool.misplaced(RUNS, "1", OURS, "users", "")


def test_server_reached_by_port_or_name_only_has_to_run() -> None:
    assert not address_pool.misplaced(RUNS, "1", OURS, "other", None)
    assert address_pool.misplaced({**RUNS, "State": {"Running": False}}, "1", OURS, "other", None)
