"""Users who may no longer be logged in lose their running servers."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from github import GitHub
from github_login import may_stay
from jupyterhub_ansible.auth import emergency_link, membership_watch


def test_servers_of_former_members_are_stopped(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    assert may_stay(entrance, ann)
    github.remove_member("Acme", "Ann")
    assert not may_stay(entrance, ann)


def test_groups_follow_without_a_request_of_the_user(door: Any, github: GitHub) -> None:
    """Shared folders go by them, and a computing notebook makes no request."""
    github.add_team("acme", "Lab")
    github.add_team_member("acme", "lab", "Ann")
    entrance = door(allowed_organizations={"acme"}, groups_with_access={"acme:lab"})
    ann = entrance.user(entrance.enter("Ann"))
    entrance.authenticator.parent.authenticator = entrance.authenticator
    seen: list[set[str]] = []
    ann.sync_groups = lambda groups: seen.append({*groups})
    assert asyncio.run(entrance.authenticator.may_stay(ann))
    github.remove_team_member("acme", "lab", "Ann")
    assert asyncio.run(entrance.authenticator.may_stay(ann))
    assert [groups & {"acme:lab"} for groups in seen] == [{"acme:lab"}, set()]
    github.break_down(503)
    assert asyncio.run(entrance.authenticator.may_stay(ann)), "nobody is thrown out"
    assert len(seen) == 2, "the last answer counts"


def test_inconclusive_check_stops_no_server(door: Any) -> None:
    """A first team in the settings needs a scope that nobody has granted yet; without its key, auth state is lost."""
    bob = door(allowed_users={"bob"}).enter("bob")
    entrance = door(allowed_groups={"acme:data-science"})
    assert may_stay(entrance, bob)
    assert entrance.stays(bob) is False, "he must log in again, with the permission"
    assert may_stay(entrance, {**bob, "auth_state": None})
    assert not may_stay(door(blocked_users={"bob"}), {**bob, "auth_state": None}), "blocked is blocked"


def test_emergency_session_ends_with_its_server(door: Any, github: GitHub) -> None:
    github.break_down(503)
    entrance = door(allowed_groups={"acme:data-science"})
    emergency = {"name": emergency_link.USER, "auth_state": {"until": time.time() + 60}}
    assert entrance.stays(emergency) is True
    assert may_stay(entrance, emergency)
    over = {**emergency, "auth_state": {"until": time.time() - 1}}
    assert entrance.stays(over) is False
    assert not may_stay(entrance, over)


def test_watch_goes_on_after_errors(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    checked = AsyncMock(side_effect=[RuntimeError("changed size during iteration"), None, asyncio.CancelledError])
    monkeypatch.setattr(membership_watch, "check_all", checked)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(membership_watch.watch(SimpleNamespace(log=logging.getLogger("hub")), 0))
    assert checked.await_count == 3
    assert "Memberships cannot be checked; retrying in 0 s" in caplog.text
    assert "changed size" in caplog.text
