"""Servers that others than their owner may use: what they are told, and which cannot be shared."""

from types import SimpleNamespace
from typing import Any

import pytest
from dockerspawner import DockerSpawner
from jupyterhub_ansible.settings.model import Environment
from jupyterhub_ansible.sharing import grants
from jupyterhub_ansible.sharing.spawner import SharingSpawner
from jupyterhub_ansible.spawner.errors import SpawnError
from traitlets.config import Config

BASE = Environment(slug="base", title="Base", image="x/base:1", tells_activity=True)
READY = Environment(slug="ready", title="A ready image", image="y/ready:1")


def link(*scopes: str) -> Any:
    return SimpleNamespace(id=1, expired=False, scopes=[f"{each}!server=ann/" for each in (grants.GUEST, *scopes)])


def spawner(sharing: str = "everybody", links: tuple[Any, ...] = (), chosen: str = "base") -> Any:
    traits = {"profiles": {"base": BASE, "ready": READY}, "default_profile": "base", "sharing": sharing}
    stored = SimpleNamespace(
        name="",
        display_name="",
        server=None,
        user_options={"profile": chosen},
        share_codes=list(links),
        shares=[],
        state={},
    )
    user = SimpleNamespace(name="ann", url="/user/ann/", groups=[])
    return SharingSpawner(user=user, orm_spawner=stored, config=Config({"SharingSpawner": traits}))


def test_server_that_cannot_be_shared_is_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DockerSpawner, "get_env", lambda self: {"USER": "x"})
    made = spawner("nobody", (link(),))
    assert made.get_env() == {"USER": "x"}
    assert made.get_args() == ["--HubAuth.cache_max_age=30"]
    assert made.server_token_scopes != ["users:activity!user"]
    assert made.unshareable() == "Servers cannot be shared on this Hub."


def test_server_that_can_be_shared_ends_access_and_has_a_token_that_opens_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DockerSpawner, "get_env", lambda self: {"USER": "x"})
    made = spawner()
    assert made.get_env() == {"USER": "x", "JUPYTERHUB_GUESTS": "1"}
    assert made.get_args() == ["--HubAuth.cache_max_age=10"]
    assert made.server_token_scopes == ["users:activity!user"]
    assert made.unshareable() == ""
    # Live collaboration begins with the first start after a link was made.
    shared = {"USER": "x", "JUPYTERHUB_GUESTS": "1", "JUPYTERHUB_COLLABORATION": "1"}
    assert spawner(links=(link(),)).get_env() == shared


def test_server_with_a_ready_image_cannot_be_shared() -> None:
    assert "A ready image cannot be shared" in spawner(chosen="ready").unshareable()
    shared = spawner(links=(link(),))
    shared.handler = None
    shared.apply_profile({"profile": "base"})
    with pytest.raises(SpawnError, match="Your server is shared, and the environment A ready image"):
        shared.apply_profile({"profile": "ready"})
    alone = spawner()
    alone.handler = None
    alone.apply_profile({"profile": "ready"})


def test_server_that_was_started_before_must_be_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharingSpawner, "active", True)
    made = spawner()
    assert "stop and start it first" in made.unshareable()
    made.load_state({"takes_guests": True})
    assert made.unshareable() == ""
    assert made.get_state()["takes_guests"]
    made.clear_state()
    assert "takes_guests" not in made.get_state()
