"""The spawner against a stand-in for Docker: a start, its container, and its errors."""

import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from docker.errors import APIError
from fake_spawner import GB, FakeDocker, Spawner, events_of, run, spawner
from jupyterhub_ansible.auth import tokens
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.limits import HARDENING


def test_a_start(docker: FakeDocker) -> None:
    assert run(spawner().start) == ("127.0.0.1", 8888)
    container = docker.containers["jh-user-alice"]
    assert container["State"]["Running"]
    assert container["Config"]["Labels"] == labels("jh", "user-server", "alice", "")
    assert container["options"]["image"] == "x/base:1"
    host = container["options"]["host_config"]
    assert host["Binds"] == ["jh-user-alice:/home/jovyan:rw"]
    assert docker.volumes["jh-user-alice"]["Labels"] == labels("jh", "home", "alice", "")


def test_start_is_checked_again_before_the_container_runs(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulling the image and waiting for memory may take long."""
    asked: list[str] = []

    def check(image: str) -> None:
        asked.append(image)
        if len(asked) > 1:
            raise SpawnError("the network is not safe", reason="fence", log_message="")

    monkeypatch.setattr(Spawner, "check_before_start", check)
    with pytest.raises(SpawnError, match="not safe"):
        run(spawner().start)
    assert asked == ["x/base:1"] * 2
    assert not docker.containers["jh-user-alice"]["State"]["Running"]


def test_limits_and_hardening_under_what_the_administrator_sets(docker: FakeDocker) -> None:
    extra = {"shm_size": 5, "security_opt": ["label=disable"]}
    run(spawner(pids_limit=7, extra_host_config=extra, extra_create_kwargs={"labels": {"team": "x"}}).start)
    container = docker.containers["jh-user-alice"]
    host = container["options"]["host_config"]
    assert (host["Memory"], host["MemorySwap"]) == (1024**3, 1024**3)
    assert (host["PidsLimit"], host["CapDrop"], host["Init"]) == (7, ["ALL"], True)
    assert (host["ShmSize"], host["SecurityOpt"]) == (5, [*HARDENING["security_opt"], "label=disable"])
    assert container["Config"]["Labels"] == {**labels("jh", "user-server", "alice", ""), "team": "x"}


def test_token_is_removed_with_its_server_whatever_the_operators_hook_is(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = Mock()
    monkeypatch.setattr(tokens, "remove_stale", removed)
    alice = spawner(post_stop_hook=lambda stopped: f"hook for {stopped.user.name}")
    alice.user.db = object()
    assert alice.run_post_stop_hook() == "hook for alice"
    removed.assert_called_once_with(alice.user.db)
    removed.side_effect = OSError("the database is locked")
    assert alice.run_post_stop_hook() == "hook for alice"


def test_limits_are_those_of_this_start(docker: FakeDocker) -> None:
    alice = spawner()
    run(alice.start)
    run(alice.stop)
    alice.mem_limit = 2 * GB
    run(alice.start)
    host = docker.containers["jh-user-alice"]["options"]["host_config"]
    assert (host["Memory"], host["MemorySwap"], host["ShmSize"]) == (2 * GB, 2 * GB, GB)


def test_labels_of_an_image_are_not_inherited(docker: FakeDocker) -> None:
    docker.image_labels["x/base:1"] = {
        "traefik.enable": "true",
        "traefik.http.routers.{username}.rule": "Host(`hub.example.org`)",
        "coolify.managed": "true",
        "team": "theirs",
        "jupyterhub-ansible.user": "bob",
        "jupyterhub-ansible.environment": "base",
    }
    alice = spawner(extra_create_kwargs={"labels": {"team": "x"}})
    run(alice.start)
    assert docker.containers["jh-user-alice"]["Config"]["Labels"] == {
        "traefik.enable": "",
        "traefik.http.routers.{username}.rule": "",
        "coolify.managed": "false",
        "team": "x",
        **labels("jh", "user-server", "alice", ""),
    }
    # The next start may have others.
    docker.image_labels["x/base:1"] = {"caddy": "hub.example.org"}
    run(alice.stop)
    run(alice.start)
    assert docker.containers["jh-user-alice"]["Config"]["Labels"] == {
        "caddy": "",
        "team": "x",
        **labels("jh", "user-server", "alice", ""),
    }


def test_no_new_privileges(docker: FakeDocker) -> None:
    run(spawner().start)
    host = docker.containers["jh-user-alice"]["options"]["host_config"]
    assert host["SecurityOpt"] == HARDENING["security_opt"]
    # Docker would discard its log, too.
    assert not host.get("AutoRemove")


@pytest.mark.parametrize("user", ["{raw_username}", "{username}", "a{", "{}", "{{b}}"])
def test_braces_in_a_name_are_literal(docker: FakeDocker, user: str) -> None:
    run(spawner(user).start)
    (container,) = docker.containers.values()
    assert container["Config"]["Labels"] == labels("jh", "user-server", user, "")


def test_similar_server_names_have_distinct_oauth_clients() -> None:
    servers = [("a-b", "c"), ("a", "b-c"), ("a-b-c", "")]
    clients = {spawner(*server).oauth_client_id for server in servers}
    assert len(clients) == len(servers)
    assert all(client.startswith("jupyterhub-user-") for client in clients)


def test_the_choice_sets_image_page_and_home(docker: FakeDocker) -> None:
    mine = spawner()
    mine.apply_user_options(mine, {"profile": "other"})
    run(mine.start)
    container = docker.containers["jh-user-alice"]
    assert container["options"]["image"] == "x/other:1"
    assert container["options"]["host_config"]["Binds"] == ["jh-user-alice:/data:rw"]
    assert (mine.default_url, mine.notebook_dir) == ("/tree", "/data")


def api_request(user_options: dict[str, Any] | None) -> Any:
    """JupyterHub's REST handler with this request body."""
    return SimpleNamespace(get_server_json_body=lambda: {"display_name": None, "user_options": user_options})


@pytest.mark.parametrize("handler", [None, object(), api_request(None)])
def test_unavailable_stored_choice_falls_back_to_the_default(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    mine.handler = handler
    mine.apply_user_options(mine, {"profile": "gone"})
    assert mine.image == "x/base:1"
    assert "The environment gone, which you used last, is no longer offered: Base takes its place." in caplog.text


def test_unavailable_new_choice_is_refused() -> None:
    mine = spawner()
    mine.handler = api_request({"profile": "gone"})
    with pytest.raises(SpawnError) as error:
        mine.apply_user_options(mine, {"profile": "gone"})
    assert error.value.status_code == 400


def test_a_form_is_checked_before_it_is_stored() -> None:
    mine = spawner()
    assert mine.run_options_from_form({"profile": ["other"]}) == {"profile": "other"}
    with pytest.raises(SpawnError) as error:
        mine.run_options_from_form({"profile": ["gone"]})
    assert error.value.status_code == 400


def test_the_phases_of_a_start(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    assert [message for _, message in events_of(mine)] == [
        "Creating the container of your server",
        "Starting your server",
        "Waiting until your server answers",
    ]

    async def first_event() -> Any:
        return await anext(mine.progress())

    assert run(first_event)["progress"] == 60


def test_notice_of_an_unavailable_choice_comes_first(docker: FakeDocker) -> None:
    mine = spawner()
    mine.notice = "Base takes its place."
    run(mine.start)
    assert events_of(mine)[0] == (0, mine.notice)


def test_unexpected_error(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "create_container", Mock(side_effect=ValueError("a secret detail")))
    with pytest.raises(SpawnError) as error:
        run(spawner().start)
    assert error.value.jupyterhub_message == "Your server could not be started. Please tell the administrator."
    assert "ValueError: a secret detail" in error.value.log_message


def test_docker_does_not_answer(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "inspect_image", Mock(side_effect=requests.ConnectionError("refused")))
    mine = spawner()
    with pytest.raises(SpawnError) as error:
        run(mine.start)
    assert error.value.reason == "docker-down"
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=requests.ConnectionError("refused")))
    # As JupyterHub does after a failed start: there is nothing to stop.
    assert run(mine.poll) == 0


def test_full_disk(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    full = APIError("500", response=Mock(status_code=500), explanation="mkdir: no space left on device")
    monkeypatch.setattr(docker, "create_volume", Mock(side_effect=full))
    with pytest.raises(SpawnError) as error:
        run(spawner().start)
    assert error.value.reason == "disk"
