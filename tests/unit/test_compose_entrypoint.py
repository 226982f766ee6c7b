"""The entrypoint: secrets are made once, and the proxy gets its token."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jupyterhub_ansible.compose import entrypoint, secret_files
from jupyterhub_ansible.compose.errors import ComposeError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> secret_files.Places:
    monkeypatch.setattr(secret_files, "HUB_UID", os.getuid())
    monkeypatch.setattr(secret_files, "PROXY_UID", os.getuid())
    made = secret_files.Places(tmp_path / "docker.sock", tmp_path / "state", tmp_path / "proxy")
    made.socket.touch()
    made.state.mkdir()
    made.proxy.mkdir()
    return made


def test_secrets_are_made_once(places: secret_files.Places) -> None:
    assert entrypoint.prepared(places, {}) == places.socket.stat().st_gid
    made = {path.name: path.read_text() for path in places.secrets.iterdir()}
    assert set(made) == {"cookie_secret", "crypt_key", "proxy_token"}
    assert {len(text) for text in made.values()} == {64}
    assert {path.stat().st_mode & 0o777 for path in places.secrets.iterdir()} == {0o600}
    assert places.secrets.stat().st_mode & 0o777 == 0o700
    assert (places.proxy / "token").read_text() == made["proxy_token"]
    entrypoint.prepared(places, {})
    assert {path.name: path.read_text() for path in places.secrets.iterdir()} == made


def test_given_token_is_handed_to_the_proxy(places: secret_files.Places) -> None:
    mark = places.state / secret_files.NEW_TOKEN
    for _ in range(2):
        entrypoint.prepared(places, {"CONFIGPROXY_AUTH_TOKEN": "t" * 40})
        assert (places.proxy / "token").read_text() == "t" * 40
        assert not (places.secrets / "proxy_token").exists()
        assert not mark.exists()
    # The running proxy needs the new one.
    entrypoint.prepared(places, {"CONFIGPROXY_AUTH_TOKEN": "u" * 40})
    assert mark.exists()


def test_without_a_socket_it_says_what_to_mount(places: secret_files.Places) -> None:
    places.socket.unlink()
    with pytest.raises(ComposeError, match=r"Docker's socket is not at .*: No such file"):
        entrypoint.prepared(places, {})
