"""A changed template for the names of homes, on a Hub that has some."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.settings import check
from jupyterhub_ansible.spawner import home_names
from project import IMAGES
from traitlets.config import Config

CONFIG_FILE = IMAGES / "hub/jupyterhub_config.py"


class Volumes:
    def __init__(self, **found: dict[str, str] | None) -> None:
        self.found = [{"Name": name.replace("_", "-"), "Labels": each} for name, each in found.items()]

    def volumes(self) -> dict[str, Any]:
        return {"Volumes": self.found}


ANN = {"jupyterhub_user_ann": labels("jupyterhub", "home", "ann", "")}
ANNS = {**ANN, "jupyterhub_user_ann__lab": labels("jupyterhub", "home", "ann", "lab")}
OTHERS = {
    "theirs": None,
    "b_user_bob": labels("b", "home", "bob", ""),
    "jupyterhub_hub": labels("jupyterhub", "hub-state", "", ""),
}


@pytest.mark.parametrize(
    ("volumes", "template", "lost"),
    [
        (ANNS, None, {}),
        ({**ANN, **OTHERS}, "jhub-{username}", {"jupyterhub-user-ann": "jhub-ann"}),
        ({**ANN, **OTHERS, "jhub_ann": None}, "jhub-{username}", {}),
        ({"jhub_ann": ANN["jupyterhub_user_ann"]}, "jhub-{username}", {}),
        ({"jhub_ann": ANN["jupyterhub_user_ann"]}, None, {"jhub-ann": "jupyterhub-user-ann"}),
        # A home for each named server; then one for all, which is the default server's.
        ({**ANNS, "h_ann_": None}, "h-{username}-{servername}", {"jupyterhub-user-ann--lab": "h-ann-lab"}),
        ({**ANNS, "h_ann": None}, "h-{username}", {}),
        (OTHERS, "jhub-{username}", {}),
    ],
)
def test_homes_that_would_look_empty(volumes: Any, template: str | None, lost: dict[str, str]) -> None:
    config = Config({"UserServerSpawner": {"project": "jupyterhub", "volume_name_template": template}})
    assert home_names.lost(Volumes(**volumes), config) == lost


def test_the_check_names_the_setting_and_one_home(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docker.from_env", lambda: SimpleNamespace(api=Volumes(**ANN)))
    assert check.problems(CONFIG_FILE, homes=True) == []
    changed = {
        **check.EXAMPLE,
        "jupyterhub_name": "jupyterhub",
        "hub_volume_name_template": "jhub-{username}-{servername}",
    }
    (hub_files / "hub.json").write_text(json.dumps(changed))
    assert check.problems(CONFIG_FILE) == []
    [found] = check.problems(CONFIG_FILE, homes=True)
    assert found.startswith("hub_volume_name_template: 1 homes would look empty: jupyterhub-user-ann, for example")


def test_an_engine_that_does_not_answer_is_no_reason(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{hub_files}/nowhere.sock")
    assert check.problems(CONFIG_FILE, homes=True) == []
