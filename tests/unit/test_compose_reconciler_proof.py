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


def test_a_proof_is_not_repeated_for_the_same_containers(kept: Reconciler, prober: Any, engine: Engine) -> None:
    kept.prepare()
    kept.prepare()
    assert prober.reached.call_count == 1
    engine.of("p")["Id"] = "q"
    engine.present["q"] = engine.of("p")
    kept.prepare()
    assert prober.reached.call_count == 2


def test_reloaded_rules_are_proved_again(kept: Reconciler, prober: Any, engine: Engine) -> None:
    kept.prepare()
    kept.reconcile()
    assert prober.reached.call_count == 1
    engine.said = b"in force\nlater\n"
    kept.reconcile()
    kept.reconcile()
    assert prober.reached.call_count == 2


def test_rules_reloaded_during_a_proof_are_proved_again(
    engine: Engine, kept: Reconciler, prober: Any, tmp_path: Path
) -> None:
    good = prober.reached.return_value

    def load(*_: Any) -> dict[str, bool]:
        engine.said = b"in force\nlater\n"
        return dict(good)

    prober.reached.side_effect = load
    kept.prepare()
    assert not (tmp_path / "stamp").exists()
    kept.reconcile()
    assert (tmp_path / "stamp").exists()
    assert prober.reached.call_count == 2


def test_network_is_closed_if_open_three_times_in_a_row(
    engine: Engine, kept: Reconciler, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the Hub stays: with one that ended, Docker would open it again and again, and nobody's server be reached."""
    monkeypatch.setattr(reconciler, "_TRUSTED_S", 0)
    good = prober.reached.return_value
    prober.reached.return_value = {**good, "another server": True}
    kept.prepare()
    assert prober.reached.call_count == 3
    assert [call for call in engine.calls if call.startswith("fence")] == ["fence open", "fence shut"]
    assert not (tmp_path / "able").exists()
    assert not (tmp_path / "stamp").exists()
    with pytest.raises(SpawnError, match=r"another server could be reached.*docker compose restart hub") as error:
        kept.check_before_start("hub/env-base:built")
    assert error.value.jupyterhub_message.startswith("No server can be started just now: the network is not safe.")
    # It is opened to see whether it is mended at a start, and then once.
    kept.reconcile()
    assert prober.reached.call_count == 3
    kept.prepare()
    assert prober.reached.call_count == 4
    assert engine.calls[-1] == "fence shut"
    prober.reached.side_effect = ComposeError("The fence could not be tested")
    kept.prepare()
    assert engine.calls[-1] == "fence shut"
    assert not (tmp_path / "able").exists()
    prober.reached.side_effect = None
    prober.reached.return_value = good
    kept.prepare()
    kept.reconcile()
    kept.check_before_start("hub/env-base:built")
    assert engine.calls[-1] == "fence open"
    assert (tmp_path / "able").exists()


def test_closed_network_is_proved_again_after_a_pause(
    engine: Engine, kept: Reconciler, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = prober.reached.return_value
    prober.reached.return_value = {**good, "another server": True}
    kept.prepare()
    # Docker, which starts a Hub again that failed, has mended nothing.
    engine.of("me")["RestartCount"] = 1
    kept.prepare()
    assert engine.calls[-1] == "fence shut"
    del engine.present["hub-fence"]
    kept.reconcile()
    assert engine.calls[-2:] == ["start hub-fence", "fence shut"], "a helper that was made again opens it"
    assert prober.reached.call_count == 3
    assert not (tmp_path / "able").exists()
    monkeypatch.setattr(reconciler, "RETRY_S", 0)
    kept.prepare()
    assert prober.reached.call_count == 4
    prober.reached.return_value = good
    kept.reconcile()
    assert prober.reached.call_count == 5
    assert (tmp_path / "able").exists()
    kept.check_before_start("hub/env-base:built")


@pytest.mark.parametrize("said", [b"", b"fence: not found\n"])
def test_fence_that_cannot_be_shut_is_reported_and_no_server_starts(
    engine: Engine, kept: Reconciler, prober: Any, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    prober.reached.return_value |= {"another server": True}
    engine.said_to["shut"] = said
    kept.prepare()
    assert "The fence cannot be switched to shut; why: docker logs hub-fence" in caplog.text
    with pytest.raises(SpawnError, match="another server could be reached"):
        kept.check_before_start("hub/env-base:built")


def test_fence_that_cannot_be_opened_is_not_proved(engine: Engine, kept: Reconciler, prober: Any) -> None:
    engine.said_to["open"] = b""
    with pytest.raises(ComposeError, match="The fence cannot be switched to open"):
        kept.prepare()
    assert prober.reached.call_count == 0


def test_closed_network_is_closed_again_whatever_fails(
    engine: Engine, kept: Reconciler, prober: Any, tmp_path: Path
) -> None:
    (tmp_path / "closed").write_text("another server could be reached\n")
    prober.reached.side_effect = KeyError("IPAddress")
    with pytest.raises(KeyError):
        kept.prepare()
    assert engine.calls[-1] == "fence shut"


def test_open_once_is_retried(engine: Engine, kept: Reconciler, prober: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a firewall that was reloaded, which takes some seconds."""
    pauses: list[int] = []
    monkeypatch.setattr(reconciler, "PAUSE_S", 7)
    monkeypatch.setattr("time.sleep", pauses.append)
    good = prober.reached.return_value
    prober.reached.side_effect = [{**good, "another server": True}, {**good, "another server": True}, good]
    kept.prepare()
    assert "fence shut" not in engine.calls
    assert pauses == [0, 7, 7]


def test_without_proof_the_hub_does_not_start(kept: Reconciler, prober: Any, tmp_path: Path) -> None:
    prober.reached.return_value |= {"the Hub": False}
    with pytest.raises(ComposeError, match="the Hub is closed"):
        kept.prepare()
    assert not (tmp_path / "able").exists()
    assert not (tmp_path / "stamp").exists()


@pytest.mark.parametrize("machine", [True, False])
def test_failing_name_resolution_is_only_a_warning(
    kept: Reconciler, prober: Any, machine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    prober.reached.return_value |= {probe.NAMES: False}
    prober.host_resolves_names.return_value = machine
    kept.prepare()
    assert ("cannot resolve names" in caplog.text) is machine


def test_missing_kernel_features_are_logged(engine: Engine, kept: Reconciler, caplog: pytest.LogCaptureFixture) -> None:
    engine.said_to["lacks"] = b"this kernel cannot count\n"
    kept.prepare()
    assert "The fence: this kernel cannot count" in caplog.text
