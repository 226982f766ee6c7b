"""Fixtures of the unit tests."""

import json
from pathlib import Path

import pytest
from example_secrets import SECRET_NAMES, secret
from jupyterhub_ansible.settings.check import EXAMPLE


@pytest.fixture
def hub_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the Hub's settings and secrets, which `load()` finds."""
    (tmp_path / "hub.json").write_text(json.dumps(EXAMPLE))
    for number, name in enumerate(SECRET_NAMES):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(f"{secret(number)}\n")
    monkeypatch.setenv("JUPYTERHUB_SETTINGS_FILE", str(tmp_path / "hub.json"))
    monkeypatch.setenv("JUPYTERHUB_SECRETS_DIR", str(tmp_path))
    return tmp_path
