"""What the Hub of a Compose application removes of what it made, in which order, and what it refuses."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from docker.errors import NotFound
from jupyterhub_ansible.compose import fence, uninstall
from jupyterhub_ansible.compose.errors import ComposeError

PROJECT, KIND, USER = "jupyterhub-ansible.project", "jupyterhub-ansible.kind", "jupyterhub-ansible.user"
HELPER = {"Config": {"Labels": {PROJECT: "a"}}}


def container(name: str, kind: str, state: str = "running") -> dict[str, Any]:
    return {"Id": name, "Names": [f"/{name}"], "State": state, "Labels": {KIND: kind, USER: name[7:]}}


def client(running: tuple[str, ...] = (), helper: Any = HELPER, code: int = 0) -> Mock:
    """A stand-in for an engine with the Hub `a`; `running` are Hubs and proxies, as `<Hub's name>:<id>`."""
    ours = [container("a-user-ada", "user-server"), container("a-user-bob", "user-server", "exited")]
    ours += [container("a-fence", "fence")]

    def containers(*, filters: dict[str, list[str]], **_: bool) -> list[dict[str, Any]]:
        [label] = filters["label"]
        if label == f"{PROJECT}=a":
            return ours
        kind = label.partition("=")[2]
        return [container(each, kind) for each in running if kind.endswith("hub")]

    def described(name: str) -> Any:
        if name == "a-fence":
            if helper is None:
                raise NotFound("no such container", response=Mock(status_code=404))
            return helper
        return {"Config": {"Env": [f"JUPYTERHUB_NAME={name.partition(':')[0]}"]}}

    engine = Mock()
    engine.containers.side_effect = containers
    engine.inspect_container.side_effect = described
    engine.networks.return_value = [{"Name": "a-users"}, {"Name": "a-control"}]
    engine.volumes.return_value = {"Volumes": [{"Name": "a-user-ada"}]}
    engine.images.return_value = [{"RepoTags": ["a/env-base:built", "a-env-base:latest", "mine:1"]}, {"RepoTags": None}]
    engine.inspect_network.return_value = {"Containers": {"somebody": {}}}
    engine.inspect_image.return_value = {"Config": {"Labels": {}}}
    engine.info.return_value = {"CgroupDriver": "cgroupfs", "MemTotal": 1, "SecurityOptions": []}
    engine.create_host_config.side_effect = lambda **options: options
    engine.exec_create.return_value = {"Id": "1"}
    engine.exec_start.return_value = b"bridge-nf-call-iptables 0\n"
    engine.exec_inspect.return_value = {"ExitCode": 0}
    engine.wait.return_value = {"StatusCode": code}
    engine.logs.return_value = b"nft: not permitted\n"
    return engine


def test_what_belongs_to_a_hub() -> None:
    left = uninstall.look(client(("a:1", "b:2", "a:me")), "a", "a:me")
    assert left == uninstall.Left(
        hubs=["a:1"],
        servers=["ada"],
        containers=["a-user-ada", "a-user-bob"],
        networks=["a-control", "a-users"],
        volumes=["a-user-ada"],
        images=["a/env-base:built"],
    )


def test_what_is_refused() -> None:
    left = uninstall.look(client(("a:1",)), "a", "me")
    wrong_name, runs, servers = uninstall.problems(left, "a", typed="b", stop_servers=False)
    assert wrong_name.startswith("--delete-data b: this Hub is called a. Fix: ")
    assert runs.startswith("It runs: a:1. Fix: stop it first")
    assert servers.startswith("Servers are running (1), of ada: ")
    stopped = uninstall.look(client(), "a", "me")
    assert [*uninstall.problems(stopped, "a", typed="a", stop_servers=True)] == []


@pytest.mark.parametrize("delete_data", [False, True])
def test_the_fence_goes_after_the_servers_and_before_the_networks(delete_data: bool) -> None:
    engine = client()
    left = uninstall.look(engine, "a", "me")
    uninstall.remove(engine, "a", left, delete_data=delete_data, image="sha256:hub")
    changes = ("remove_", "create_container", "start", "wait", "disconnect")
    done = [
        (call[0], *call[1][:2], call[2].get("name", ""))
        for call in engine.method_calls
        if call[0].startswith(changes) and call[0] != "create_host_config"
    ]
    assert done[:6] == [
        ("remove_container", "a-user-ada", ""),
        ("remove_container", "a-user-bob", ""),
        ("remove_container", "a-fence", ""),
        ("create_container", "sha256:hub", "a-fence"),
        ("start", "a-fence", ""),
        ("wait", "a-fence", ""),
    ]
    assert ("remove_network", "a-users", "") in done
    assert (done[-1] == ("remove_volume", "a-user-ada", "")) == delete_data
    assert engine.remove_volume.called == delete_data
    assert ("remove_image", "a/env-base:built", "") in done
    entrypoint = engine.create_container.call_args.kwargs["entrypoint"]
    assert entrypoint[-3:] == ["a_fence", "a-users", "bridge-nf-call-iptables 0"]


def test_without_a_helper_the_rules_are_removed_as_well() -> None:
    engine = client(helper=None)
    fence.remove(engine, "a", "sha256:hub")
    assert engine.start.called


def test_a_fence_that_stays_is_reported_and_leaves_no_container() -> None:
    engine = client(code=1)
    with pytest.raises(ComposeError, match="could not be removed: nft: not permitted"):
        fence.remove(engine, "a", "sha256:hub")
    assert engine.method_calls[-1][0] == "remove_container"
    with pytest.raises(ComposeError, match="Another container is called a-fence"):
        fence.remove(client(helper={"Config": {"Labels": {}}}), "a", "sha256:hub")
