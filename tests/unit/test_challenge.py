"""Hub and server agree on the proof, though each half is in another image."""

from types import SimpleNamespace

import jupyterhub_challenge
import pytest
from jupyterhub_ansible.spawner import challenge


def test_the_two_halves_match() -> None:
    asked = challenge.nonce()
    assert challenge.PATH == jupyterhub_challenge.PATH
    assert challenge.is_answer("token", asked, {"hmac": jupyterhub_challenge.answer("token", asked)})
    assert not challenge.is_answer("token", asked, {"hmac": jupyterhub_challenge.answer("another", asked)})
    assert not challenge.is_answer("token", challenge.nonce(), {"hmac": jupyterhub_challenge.answer("token", asked)})
    assert asked != challenge.nonce()


@pytest.mark.parametrize("said", [None, [], "text", {}, {"hmac": None}, {"hmac": 1}, {"hmac": "é"}])
def test_any_other_answer_is_rejected(said: object) -> None:
    assert not challenge.is_answer("token", "0" * 64, said)


@pytest.mark.parametrize("nonce", ["", "0" * 63, "0" * 65, "G" * 64, "0" * 64 + "\n", "A" * 64])
def test_nothing_else_is_signed(nonce: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        jupyterhub_challenge.answer("token", nonce)


def test_without_a_hub_no_handler_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jupyterhub_challenge_handler", SimpleNamespace(ChallengeHandler=1))
    added: list[object] = []
    server = SimpleNamespace(
        base_url="/user/a/", web_app=SimpleNamespace(add_handlers=lambda *args: added.append(args))
    )
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    jupyterhub_challenge._load_jupyter_server_extension(server)
    assert added == []
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "token")
    jupyterhub_challenge._load_jupyter_server_extension(server)
    assert added == [(".*$", [("/user/a/api/jupyterhub-challenge", 1, {"token": "token"})])]
