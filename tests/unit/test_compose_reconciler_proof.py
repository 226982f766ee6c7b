"""The reconciler's proof of the fence: when it is repeated, and what a fence that does not hold leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_engine import Engine
from jupyterhub_ansible.compose import reconciler
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.compose.reconciler import Reconciler
from jupyterhub_ansible.rules import probe
from jupyterhub_ansible.spawner.errors import SpawnError


def test_a_proof_is_not_repeated_for_the_same_containers(
    compose_reconciler: Reconciler, prober: Any, engine: Engine
) -> None:
    compose_reconciler.prepare()
    compose_reconciler.prepare()
    assert prober.reached.call_count == 1
    engine.of("p")["Id"] = "q"
    engine.present["q"] = engine.of("p")
    compose_reconciler.prepare()
    assert prober.reached.call_count == 2


def test_reloaded_rules_are_proved_again(compose_reconciler: Reconciler, prober: Any, engine: Engine) -> None:
    compose_reconciler.prepare()
    compose_reconciler.reconcile()
    assert prober.reached.call_count == 1
    engine.said = b"in force\nlater\n"
    compose_reconciler.reconcile()
    compose_reconciler.reconcile()
    assert prober.reached.call_count == 2


def test_rules_reloaded_during_a_proof_are_proved_again(
    engine: Engine, compose_reconciler: Reconciler, prober: Any, tmp_path: Path
) -> None:
    good = prober.reached.return_value

    def load(*_: Any) -> dict[str, bool]:
        engine.said = b"in force\nlater\n"
        return dict(good)

    prober.reached.side_effect = load
    compose_reconciler.prepare()
    assert not (tmp_path / "stamp").exists()
    compose_reconciler.reconcile()
    assert (tmp_path / "stamp").exists()
    assert prober.reached.call_count == 2


def test_network_is_closed_if_open_three_times_in_a_row(
    engine: Engine, compose_reconciler: Reconciler, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub keeps running: if it ended, Docker would restart it, and it would open the network again and again."""
    monkeypatch.setattr(reconciler, "_TRUSTED_S", 0)
    good = prober.reached.return_value
    prober.reached.return_value = {**good, "another server": True}
    compose_reconciler.prepare()
    assert prober.reached.call_count == 3
    assert [call for call in engine.calls if call.startswith("fence")] == ["fence open", "fence shut"]
    assert not (tmp_path / "able").exists()
    assert not (tmp_path / "stamp").exists()
    with pytest.raises(SpawnError, match=r"another server could be reached.*docker compose restart hub") as error:
        compose_reconciler.check_before_start("hub/env-base:built")
    assert error.value.jupyterhub_message.startswith("No server can be started just now: the network is not safe.")
    # At a start, it is opened for a single attempt.
    compose_reconciler.reconcile()
    assert prober.reached.call_count == 3
    compose_reconciler.prepare()
    assert prober.reached.call_count == 4
    assert engine.calls[-1] == "fence shut"
    prober.reached.side_effect = ComposeError("The fence could not be tested")
    compose_reconciler.prepare()
    assert engine.calls[-1] == "fence shut"
    assert not (tmp_path / "able").exists()
    prober.reached.side_effect = None
    prober.reached.return_value = good
    compose_reconciler.prepare()
    compose_reconciler.reconcile()
    compose_reconciler.check_before_start("hub/env-base:built")
    assert engine.calls[-1] == "fence open"
    assert (tmp_path / "able").exists()


def test_closed_network_is_proved_again_after_a_pause(
    engine: Engine, compose_reconciler: Reconciler, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = prober.reached.return_value
    prober.reached.return_value = {**good, "another server": True}
    compose_reconciler.prepare()
    # A restart by Docker has fixed nothing.
    engine.of("me")["RestartCount"] = 1
    compose_reconciler.prepare()
    assert engine.calls[-1] == "fence shut"
    del engine.present["hub-fence"]
    compose_reconciler.reconcile()
    assert engine.calls[-2:] == ["start hub-fence", "fence shut"], "a helper that was made again opens it"
    assert prober.reached.call_count == 3
    assert not (tmp_path / "able").exists()
    monkeypatch.setattr(reconciler, "RETRY_S", 0)
    compose_reconciler.prepare()
    assert prober.reached.call_count == 4
    prober.reached.return_value = good
    compose_reconciler.reconcile()
    assert prober.reached.call_count == 5
    assert (tmp_path / "able").exists()
    compose_reconciler.check_before_start("hub/env-base:built")


@pytest.mark.parametrize("said", [b"", b"fence: not found\n"])
def test_fence_that_cannot_be_shut_is_reported_and_no_server_starts(
    engine: Engine, compose_reconciler: Reconciler, prober: Any, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    prober.reached.return_value |= {"another server": True}
    engine.said_to["shut"] = said
    compose_reconciler.prepare()
    assert "The fence cannot be switched to shut; why: docker logs hub-fence" in caplog.text
    with pytest.raises(SpawnError, match="another server could be reached"):
        compose_reconciler.check_before_start("hub/env-base:built")


def test_fence_that_cannot_be_opened_is_not_proved(engine: Engine, compose_reconciler: Reconciler, prober: Any) -> None:
    engine.said_to["open"] = b""
    with pytest.raises(ComposeError, match="The fence cannot be switched to open"):
        compose_reconciler.prepare()
    assert prober.reached.call_count == 0


def test_closed_network_is_closed_again_whatever_fails(
    engine: Engine, compose_reconciler: Reconciler, prober: Any, tmp_path: Path
) -> None:
    (tmp_path / "closed").write_text("another server could be reached\n")
    prober.reached.side_effect = KeyError("IPAddress")
    with pytest.raises(KeyError):
        compose_reconciler.prepare()
    assert engine.calls[-1] == "fence shut"


def test_open_once_is_retried(
    engine: Engine, compose_reconciler: Reconciler, prober: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example while a firewall reloads, which takes some seconds."""
    pauses: list[int] = []
    monkeypatch.setattr(reconciler, "PAUSE_S", 7)
    monkeypatch.setattr("time.sleep", pauses.append)
    good = prober.reached.return_value
    prober.reached.side_effect = [{**good, "another server": True}, {**good, "another server": True}, good]
    compose_reconciler.prepare()
    assert "fence shut" not in engine.calls
    assert pauses == [0, 7, 7]


def test_without_proof_the_hub_does_not_start(compose_reconciler: Reconciler, prober: Any, tmp_path: Path) -> None:
    prober.reached.return_value |= {"the Hub": False}
    with pytest.raises(ComposeError, match="the Hub is closed"):
        compose_reconciler.prepare()
    assert not (tmp_path / "able").exists()
    assert not (tmp_path / "stamp").exists()


@pytest.mark.parametrize("machine", [True, False])
def test_failing_name_resolution_is_only_a_warning(
    compose_reconciler: Reconciler, prober: Any, machine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    prober.reached.return_value |= {probe.NAMES: False}
    prober.host_resolves_names.return_value = machine
    compose_reconciler.prepare()
    assert ("cannot resolve names" in caplog.text) is machine


def test_missing_kernel_features_are_logged(
    engine: Engine, compose_reconciler: Reconciler, caplog: pytest.LogCaptureFixture
) -> None:
    engine.said_to["lacks"] = b"this kernel cannot count\n"
    compose_reconciler.prepare()
    assert "The fence: this kernel cannot count" in caplog.text
