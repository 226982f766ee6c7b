"""Links and what they grant, in JupyterHub's own database: made, accepted, revoked, ended by time or by settings."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm, scopes
from jupyterhub_ansible.sharing import grants
from jupyterhub_ansible.sharing.grants import EVERYBODY, GROUPS, NOBODY

HOUR = 3600


def nobody_is_blocked(name: str) -> bool:
    return False


@pytest.fixture(autouse=True)
def _custom_scopes() -> None:
    if grants.GUEST not in scopes.scope_definitions:
        scopes.define_custom_scopes(grants.CUSTOM_SCOPES)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    session = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    yield session
    session.close()


def user(db: Any, name: str, *groups: str) -> orm.User:
    made = orm.User(name=name)
    made.groups = [orm.Group.find(db, each) or orm.Group(name=each) for each in groups]
    db.add(made)
    db.commit()
    return made


@pytest.fixture
def server(db: Any) -> orm.Spawner:
    """A named server of ann's, in the group lab."""
    made = orm.Spawner(name="work", user=user(db, "ann", "lab"))
    db.add(made)
    db.commit()
    return made


def passed(db: Any, grant: Any) -> None:
    """Let a grant's time pass."""
    grant.expires_at = grant.now() - timedelta(seconds=1)
    db.commit()


def rights(guest: orm.User) -> set[str]:
    return {each for share in guest.shared_with_me for each in share.scopes}


def accepted(db: Any, server: orm.Spawner, name: str = "ben", *, start: bool = False) -> orm.Share:
    link, _ = grants.make_link(db, server, HOUR, start=start)
    return grants.accept(db, link, user(db, name, "lab"), EVERYBODY, nobody_is_blocked)


@pytest.mark.parametrize("start", [False, True])
def test_link_grants_only_this_server_for_its_time(db: Any, server: orm.Spawner, start: bool) -> None:
    link, code = grants.make_link(db, server, HOUR, start=start)
    assert code not in str([link.hashed, link.prefix])
    assert grants.find_link(db, code) is link
    ben = user(db, "ben")
    share = grants.accept(db, link, ben, EVERYBODY, nobody_is_blocked)
    assert link
    assert share.expires_at == link.expires_at
    assert share.expires_in is not None
    assert abs(share.expires_in - HOUR) < 60
    wanted = {"access:servers", "read:servers", grants.GUEST, *([grants.START] if start else [])}
    assert rights(ben) == {f"{each}!server=ann/work" for each in wanted}
    assert grants.may_start(share) == start
    # The right to start is none of JupyterHub's, which would also rename the server and change its options.
    of_others = {each for each in scopes.get_scopes_for(ben) if not each.endswith("!user=ben")}
    assert not [each for each in of_others if each.startswith(("servers", "start:", "delete:", "shares"))]


def test_second_use_prolongs_nothing(db: Any, server: orm.Spawner) -> None:
    link, code = grants.make_link(db, server, HOUR, start=False)
    ben = user(db, "ben")
    until = grants.accept(db, link, ben, EVERYBODY, nobody_is_blocked).expires_at
    assert grants.accept(db, link, ben, EVERYBODY, nobody_is_blocked).expires_at == until
    assert len(ben.shared_with_me) == 1
    assert link.exchange_count == 2
    passed(db, link)
    assert grants.find_link(db, code) is None


def test_newest_link_counts(db: Any, server: orm.Spawner) -> None:
    ben = user(db, "ben")
    for lasts_s, start in ((HOUR, True), (2 * HOUR, False)):
        link, _ = grants.make_link(db, server, lasts_s, start=start)
        share = grants.accept(db, link, ben, EVERYBODY, nobody_is_blocked)
    assert not grants.may_start(share)
    assert share.expires_at == link.expires_at


@pytest.mark.parametrize(
    ("policy", "groups", "why"),
    [
        (EVERYBODY, (), ""),
        (GROUPS, ("lab", "x"), ""),
        (GROUPS, ("x",), "none in common with ann"),
        (GROUPS, (), "none in common"),
        (NOBODY, ("lab",), "cannot be shared on this Hub"),
    ],
)
def test_operator_decides_with_whom(
    db: Any, server: orm.Spawner, policy: str, groups: tuple[str, ...], why: str
) -> None:
    link, _ = grants.make_link(db, server, HOUR, start=False)
    ben = user(db, "ben", *groups)
    if not why:
        assert grants.accept(db, link, ben, policy, nobody_is_blocked).user is ben
        return
    with pytest.raises(grants.SharingError, match=why):
        grants.accept(db, link, ben, policy, nobody_is_blocked)
    assert not ben.shared_with_me


def test_owner_cannot_be_guest(db: Any, server: orm.Spawner) -> None:
    link, _ = grants.make_link(db, server, HOUR, start=False)
    with pytest.raises(grants.SharingError, match="your own server"):
        grants.accept(db, link, server.user, EVERYBODY, nobody_is_blocked)


def test_link_of_a_blocked_owner_lets_nobody_in(db: Any, server: orm.Spawner) -> None:
    link, _ = grants.make_link(db, server, 3600, start=False)
    with pytest.raises(grants.SharingError, match="ann may not use this Hub any more"):
        grants.accept(db, link, user(db, "ben"), EVERYBODY, {"ann"}.__contains__)


def test_links_are_limited(db: Any, server: orm.Spawner) -> None:
    for _ in range(grants.LINKS_AT_MOST):
        link, _ = grants.make_link(db, server, HOUR, start=False)
    with pytest.raises(grants.SharingError, match="delete one first"):
        grants.make_link(db, server, HOUR, start=False)
    passed(db, link)
    grants.make_link(db, server, HOUR, start=False)


def token(db: Any, share: orm.Share) -> orm.APIToken:
    """The token by which a guest's browser opens the server, and another one of theirs."""
    client = orm.OAuthClient(identifier="jupyterhub-user-ann-work")
    share.spawner.oauth_client = client
    db.add_all([client, orm.OAuthClient(identifier="jupyterhub")])
    db.commit()
    for each in (client.identifier, "jupyterhub"):
        db.add(orm.APIToken(hashed=each, prefix=each[:4], client_id=each, user_id=share.user_id, scopes=[]))
    db.commit()
    return db.query(orm.APIToken).filter_by(client_id=client.identifier).one()


def ends_by_time(db: Any, share: orm.Share) -> list[str]:
    passed(db, share)
    return grants.sweep(db, EVERYBODY, nobody_is_blocked)


def ends_by_setting(db: Any, share: orm.Share) -> list[str]:
    return grants.sweep(db, NOBODY, nobody_is_blocked)


def ends_by_group(db: Any, share: orm.Share) -> list[str]:
    assert grants.sweep(db, GROUPS, nobody_is_blocked) == []
    share.user.groups = []
    db.commit()
    return grants.sweep(db, GROUPS, nobody_is_blocked)


def ends_by_block(db: Any, share: orm.Share) -> list[str]:
    return grants.sweep(db, EVERYBODY, lambda name: name == "ann")


def ends_without_end(db: Any, share: orm.Share) -> list[str]:
    share.expires_at = None
    db.commit()
    return grants.sweep(db, EVERYBODY, nobody_is_blocked)


@pytest.mark.parametrize(
    ("over", "why"),
    [
        (ends_by_time, "the time is over"),
        (ends_by_setting, "hub_sharing"),
        (ends_by_group, "no group in common"),
        (ends_by_block, "ann is blocked"),
        (ends_without_end, "the time is over"),
    ],
)
def test_what_is_over_is_ended_with_its_tokens(db: Any, server: orm.Spawner, over: Any, why: str) -> None:
    share = accepted(db, server)
    ben = share.user
    token(db, share)
    assert grants.sweep(db, EVERYBODY, nobody_is_blocked) == []
    [line] = over(db, share)
    assert line.startswith("ben may not use ann/work any more: ")
    assert why in line
    assert rights(ben) == set()
    assert [each.client_id for each in db.query(orm.APIToken)] == ["jupyterhub"]


def test_ended_links_are_removed(db: Any, server: orm.Spawner) -> None:
    link, _ = grants.make_link(db, server, HOUR, start=False)
    grants.sweep(db, GROUPS, nobody_is_blocked)
    assert grants.links(server) == [link]
    grants.sweep(db, NOBODY, nobody_is_blocked)
    db.refresh(server)
    assert grants.links(server) == []


def test_shares_of_others_are_left_alone(db: Any, server: orm.Spawner) -> None:
    """An operator's own roles may let users share by JupyterHub's API."""
    ben = user(db, "ben")
    orm.Share.grant(db, server, ben)
    theirs, code = orm.ShareCode.new(db, server, scopes=["access:servers!server=ann/work"])
    assert grants.sweep(db, NOBODY, nobody_is_blocked) == []
    assert rights(ben) == {"access:servers!server=ann/work"}
    assert grants.find_link(db, code) is None
    # A link gives somebody who has access for good no end.
    link, _ = grants.make_link(db, server, HOUR, start=True)
    assert grants.accept(db, link, ben, EVERYBODY, nobody_is_blocked).expires_at is None
    assert grants.links(server) == [link]
    assert theirs in server.share_codes


def test_removed_guest_cannot_come_back(db: Any, server: orm.Spawner) -> None:
    link, code = grants.make_link(db, server, HOUR, start=False)
    ben, cleo = user(db, "ben"), user(db, "cleo")
    shares = [grants.accept(db, link, each, EVERYBODY, nobody_is_blocked) for each in (ben, cleo)]
    grants.remove_guest(db, shares[0])
    assert grants.find_link(db, code) is None
    assert (rights(ben), len(rights(cleo))) == (set(), 3)
    db.refresh(server)
    assert [each.user for each in grants.guests(server)] == [cleo]
    grants.stop_sharing(db, server)
    assert rights(cleo) == set()
