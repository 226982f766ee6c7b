"""A workspace's server: what is declared, whoever starts it and whatever was asked for."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from dockerspawner import DockerSpawner
from jupyterhub_ansible.settings.model import Environment, Size, Workspace
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.profiles import ProfileSpawner
from jupyterhub_ansible.workspaces.spawner import WorkspaceSpawner
from traitlets.config import Config

SIZES = (Size(slug="small", memory_mb=1024, cpus=1), Size(slug="large", memory_mb=4096, cpus=1.5))
BASE = Environment(slug="base", title="Base", image="x/base:1")
STAFF = Environment(slug="staff", title="Staff", image="x/staff:1", sizes=SIZES, groups=frozenset({"acme:staff"}))


class Spawner(WorkspaceSpawner):
    """A spawner without a running Hub."""


def spawner(user: str = "workspace.lab", server: str = "", stored: Any = None, **declared: Any) -> Any:
    lab = Workspace(**{"slug": "lab", "environment": "staff", "users": frozenset({"ann"}), **declared})
    traits = {"profiles": {"base": BASE, "staff": STAFF}, "default_profile": "base", "workspaces": {lab.slug: lab}}
    return Spawner(
        user=SimpleNamespace(name=user, url=f"/user/{user}/", groups=[]),
        orm_spawner=SimpleNamespace(name=server, display_name="", server=None, user_options=stored),
        config=Config({"WorkspaceSpawner": traits}),
    )


def started(made: Any, options: dict[str, Any], by_api: bool = False) -> Any:
    body = {"display_name": None, "user_options": options}
    made.handler = SimpleNamespace(get_server_json_body=lambda: body) if by_api else None
    made.apply_user_options(made, options)
    return made


@pytest.mark.parametrize(
    ("size", "memory_mb"), [("large", 4096), ("small", 1024), (None, 1024)], ids=["large", "small", "the first"]
)
def test_declaration_decides(size: str | None, memory_mb: int) -> None:
    made = spawner(size=size)
    assert made.render_options_form() == "", "there is nothing to choose, so a link starts it"
    # A stored choice, from an older declaration.
    started(made, {"profile": "base", "size": "small"})
    assert (made.image, made.mem_limit, made.notice) == ("x/staff:1", memory_mb * 1024**2, "")
    assert made.orm_spawner.user_options == {
        "profile": "staff",
        "size": size or "small",
        "workspace": "lab",
    }
    # And what was stored then is no obstacle to the next start.
    assert started(made, made.orm_spawner.user_options).image == "x/staff:1"


@pytest.mark.parametrize("options", [{"profile": "base"}, {"size": "large"}, {"workspace": "other"}, {"image": "x/y"}])
def test_nobody_chooses_anything_else(options: dict[str, Any]) -> None:
    with pytest.raises(SpawnError):
        started(spawner(size="small"), options, by_api=True)


def test_one_server_of_a_declared_workspace() -> None:
    with pytest.raises(SpawnError, match="one server only"):
        spawner(server="more").catalogue()
    with pytest.raises(SpawnError, match="no workspace of this name any more"):
        spawner("workspace.removed").catalogue()


def test_users_can_neither_be_nor_name_a_workspace() -> None:
    made = started(spawner("ann"), {"profile": "base", "workspace": "lab"})
    assert made.orm_spawner.user_options == {"profile": "base"}
    with pytest.raises(SpawnError):
        started(spawner("ann"), {"profile": "staff"}, by_api=True)


def test_server_knows_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DockerSpawner, "get_env", lambda self: {"USER": "x"})
    alone = {"USER": "x", "JUPYTERHUB_GUESTS": "1", "JUPYTERHUB_WORKSPACE": "lab"}
    assert spawner().get_env() == {**alone, "JUPYTERHUB_COLLABORATION": "1"}
    assert spawner(collaboration=False).get_env() == alone
    assert spawner("ann").get_env() == {"USER": "x"}


@pytest.mark.parametrize(
    ("given", "of_workspace", "of_user"),
    [
        ([], 10, 30),
        # The time that another trait gives would win, and the server refuses two of the same.
        (["--HubAuth.cache_max_age=3600", "--HubOAuth.cache_max_age=0"], 10, 30),
        (["--HubOAuth.cache_max_age=20"], 10, 20),
        (["--HubAuth.cookie_cache_max_age=1"], 1, 1),
    ],
)
def test_server_asks_the_hub_often_enough(given: list[str], of_workspace: int, of_user: int) -> None:
    for user, seconds in (("workspace.lab", of_workspace), ("ann", of_user)):
        made = spawner(user)
        made.args = ["-x", *given]
        assert made.get_args() == ["-x", f"--HubAuth.cache_max_age={seconds}"]


def test_server_with_collaboration_has_time_to_save_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def create(made: Any) -> Any:
        return made.extra_create_kwargs.get("stop_timeout")

    monkeypatch.setattr(ProfileSpawner, "create_object", create)
    lab = spawner()
    assert asyncio.run(lab.create_object()) == 30
    assert lab.extra_create_kwargs == {}
    lab.extra_create_kwargs = {"stop_timeout": 60}
    assert asyncio.run(lab.create_object()) == 60, "hub_traits decide"
    for other in (spawner(collaboration=False), spawner("ann")):
        assert asyncio.run(other.create_object()) is None


def test_tokens_in_it_open_nothing_else() -> None:
    """Whatever hub_traits give to the tokens of users' servers: all members can read these."""
    assert spawner().server_token_scopes == ["users:activity!user"]
    assert asyncio.run(spawner()._get_oauth_client_allowed_scopes()) == ["access:servers!server=workspace.lab/"]
    assert spawner("ann").server_token_scopes == []


def test_a_workspace_s_server_cannot_be_renamed() -> None:
    """JupyterHub 6 lets whoever may start a server rename it: it would be one that nobody can start or delete."""
    for user, refused in (("workspace.lab", True), ("workspace.gone", True), ("ann", False)):
        made = spawner(user)
        made.share_home = True
        if not refused:
            asyncio.run(made.rename("", "more"))
            continue
        with pytest.raises(SpawnError, match="A workspace has one server only, without a name") as error:
            asyncio.run(made.rename("", "more"))
        assert error.value.status_code == 403
