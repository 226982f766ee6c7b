"""The reconciler: what it makes before the Hub starts, and repairs while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_engine import LOG, PLAN, Engine, image, refused
from jupyterhub_ansible.compose import images, reconciler
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.compose.reconciler import Reconciler
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings
from jupyterhub_ansible.spawner.errors import SpawnError


def test_proxy_with_an_old_token_is_restarted_once(
    engine: Engine, compose_reconciler: Reconciler, tmp_path: Path
) -> None:
    (tmp_path / "new-proxy-token").touch()
    compose_reconciler.prepare()
    compose_reconciler.prepare()
    assert [call for call in engine.calls if call.startswith("restart")] == ["restart p"]


def test_another_engine_than_the_hub_s_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate_json(json.dumps({**EXAMPLE, "compose": {}}))
    monkeypatch.setattr(reconciler, "own_id", lambda: "me")
    with pytest.raises(ComposeError, match="socket belongs to another engine than the one that runs the Hub"):
        Reconciler(settings, LOG, engine)
    engine.security.append("name=rootless")
    with pytest.raises(ComposeError, match=r"The Docker engine is rootless: .* docker --context default compose up"):
        Reconciler(settings, LOG, engine)


def test_networks_get_the_mtu_that_the_helper_sees(engine: Engine, compose_reconciler: Reconciler) -> None:
    compose_reconciler.prepare()
    assert engine.made["hub-control"]["Options"] == {}
    engine.said_to["jupyterhub_ansible.rules.mtu"] = b"1400\n"
    engine.calls.clear()
    compose_reconciler.prepare()
    assert {each["Options"]["com.docker.network.driver.mtu"] for each in engine.made.values()} == {"1400"}
    # The proxy listens on its former address otherwise.
    assert [call for call in engine.calls if not call.startswith(("disconnect", "fence"))] == [
        "rm hub-users",
        "rm hub-control",
        f"connect me hub-users {PLAN.hub} ['hub']",
        "connect me hub-control None ['hub']",
        "restart p",
        f"connect p hub-users {PLAN.proxy} ['proxy']",
        "connect p hub-control None ['proxy-api']",
    ]


def test_networks_keep_their_mtu_where_there_is_no_default_route_yet(
    engine: Engine, compose_reconciler: Reconciler
) -> None:
    """The Hub may start before the machine's link is up."""
    engine.said_to["jupyterhub_ansible.rules.mtu"] = b"1400\n"
    compose_reconciler.prepare()
    engine.said_to["jupyterhub_ansible.rules.mtu"] = b"\n"
    engine.calls.clear()
    compose_reconciler.prepare()
    assert {each["Options"]["com.docker.network.driver.mtu"] for each in engine.made.values()} == {"1400"}
    assert not [call for call in engine.calls if call.startswith(("rm", "restart"))]


def test_everything_is_made_and_proved_before_the_hub_starts(
    engine: Engine, compose_reconciler: Reconciler, prober: Any, tmp_path: Path
) -> None:
    compose_reconciler.prepare()
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    assert [call for call in engine.calls if call.startswith("connect")] == [
        f"connect me hub-users {PLAN.hub} ['hub']",
        "connect me hub-control None ['hub']",
        f"connect p hub-users {PLAN.proxy} ['proxy']",
        "connect p hub-control None ['proxy-api']",
    ]
    assert (tmp_path / "able").exists()
    [(_, gateway, _, closed, _)] = [call.args for call in prober.reached.call_args_list]
    assert gateway == PLAN.gateway
    assert closed["the proxy's API on the control network"] == "172.20.0.9:8001"


def test_low_kernel_limits_are_logged(
    compose_reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A container can only report them."""
    lines: list[str] = []
    monkeypatch.setattr("jupyterhub_ansible.engine.kernel_limits.low", lambda: lines)
    compose_reconciler.prepare()
    assert "sysctl" not in caplog.text
    lines.append("kernel.pty.max = 1048576")
    compose_reconciler.prepare()
    assert "run sysctl --system: kernel.pty.max = 1048576" in caplog.text


@pytest.mark.parametrize(("gone", "message"), [("p", "The proxy is not running"), ("fence", "is not in force")])
def test_without_proxy_or_fence_the_hub_does_not_start(
    engine: Engine, compose_reconciler: Reconciler, gone: str, message: str
) -> None:
    if gone == "p":
        del engine.present["p"]
    else:
        engine.said = b"not in force"
    with pytest.raises(ComposeError, match=message):
        compose_reconciler.prepare()


def test_new_proxy_is_attached_and_reported(engine: Engine, compose_reconciler: Reconciler) -> None:
    compose_reconciler.prepare()
    assert compose_reconciler.reconcile() is False
    del engine.present["p"]
    engine.add("new", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",))
    assert compose_reconciler.reconcile() is True
    assert compose_reconciler.reconcile() is False


def test_proxy_addresses_on_all_networks_are_known(engine: Engine, compose_reconciler: Reconciler) -> None:
    compose_reconciler.prepare()
    assert compose_reconciler.proxy_addresses == {PLAN.proxy, "172.20.0.9"}
    del engine.present["p"]
    engine.add("new", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",))
    engine.of("new")["NetworkSettings"]["Networks"]["coolify"] = {"IPAddress": "10.0.1.7", "NetworkID": "c"}
    compose_reconciler.reconcile()
    assert compose_reconciler.proxy_addresses == {PLAN.proxy, "172.20.0.9", "10.0.1.7"}


def test_hub_is_unhealthy_while_something_is_missing(
    engine: Engine, compose_reconciler: Reconciler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compose_reconciler.prepare()
    engine.said = b"not in force"
    compose_reconciler.reconcile()
    assert not (tmp_path / "able").exists()
    assert "is not in force; why: docker logs hub-fence" in caplog.text
    engine.said = b"in force"
    compose_reconciler.reconcile()
    assert (tmp_path / "able").exists()
    # For example, a paused helper.
    engine.silent = refused(409, "Container hub-fence is paused, unpause the container before exec")
    compose_reconciler.reconcile()
    assert not (tmp_path / "able").exists()


def test_no_server_starts_without_the_fence(
    engine: Engine, compose_reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_TRUSTED_S", 0)
    compose_reconciler.prepare()
    compose_reconciler.check_before_start("hub/env-base:built")
    engine.said = b"not in force"
    with pytest.raises(SpawnError) as error:
        compose_reconciler.check_before_start("hub/env-base:built")
    assert error.value.jupyterhub_message.startswith("No server can be started just now: the network is not safe.")
    del engine.present["hub-fence"]
    engine.said = b"in force"
    with pytest.raises(SpawnError, match="The fence is not in force"):
        compose_reconciler.check_before_start("hub/env-base:built")


def test_image_that_lost_its_tag_is_tagged_again(engine: Engine, compose_reconciler: Reconciler) -> None:
    compose_reconciler.prepare()
    engine.tags.clear()
    compose_reconciler.check_before_start("hub/env-base:built")
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    engine.stored.clear()
    engine.tags.clear()
    with pytest.raises(SpawnError, match="image hub/env-base:built is missing"):
        compose_reconciler.check_before_start("hub/env-base:built")
    compose_reconciler.check_before_start("registry.example.org/x:1")


def test_own_id_comes_from_the_mounts(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 2 8:1 /docker/containers/{'a' * 64}/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n")
    assert reconciler.own_id(mounts) == "a" * 64
    mounts.write_text("1 2 8:1 / / rw - ext4 /dev/sda1 rw\n")
    with pytest.raises(ComposeError, match="The Hub does not run in a Docker container"):
        reconciler.own_id(mounts)


def test_hub_of_the_playbook_is_left_alone(engine: Engine, compose_reconciler: Reconciler, prober: Any) -> None:
    """Its names even include those of this Hub."""
    theirs = {"jupyterhub-ansible.kind": "environment", images.HASH: "a", "coolify.managed": "true"}
    of_theirs = [
        {**image(number), "Config": {"Labels": theirs}, "RepoTags": [f"a-hub/env-base:{number}"]}
        for number in range(4, 9)
    ]
    engine.stored = [image(1), *of_theirs]
    for name in ("a-hub-users", "a-hub-control"):
        engine.create_network(name)
    for kind in ("hub", "proxy", "user-server"):
        engine.add(f"a-hub-{kind}", kind=kind, env=("JUPYTERHUB_NAME=hub",))
        engine.of(f"a-hub-{kind}")["Config"]["Labels"]["jupyterhub-ansible.project"] = "a-hub"
    before = {name: json.dumps(engine.of(name)) for name in engine.present if name.startswith("a-hub")}
    compose_reconciler.prepare()
    compose_reconciler.reconcile()
    compose_reconciler.remove_old_images()
    assert {name: json.dumps(engine.of(name)) for name in before} == before
    assert not [call for call in engine.calls if "a-hub" in call]
    assert engine.stored == [image(1), *of_theirs]
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    assert set(engine.made) == {"hub-users", "hub-control", "a-hub-users", "a-hub-control"}
    # Neither its table nor its bridge is used.
    assert {"table=hub_fence", "bridge=br-hub"} <= set(compose_reconciler.fence.settings[0].splitlines())
