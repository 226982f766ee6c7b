"""A changed template for the names of homes, on a Hub that has some."""

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound
from jupyterhub import orm
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.settings import check
from jupyterhub_ansible.spawner import home_names
from project import IMAGES
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from traitlets.config import Config

CONFIG_FILE = IMAGES / "hub/jupyterhub_config.py"


class Volumes:
    def __init__(self, **found: dict[str, str] | None) -> None:
        self.found = [{"Name": name.replace("_", "-"), "Labels": each} for name, each in found.items()]

        self.database: Path | None = None

    def volumes(self) -> dict[str, Any]:
        return {"Volumes": self.found}

    def get_archive(self, container: str, path: str) -> Any:
        """Copy from the Hub's container, as docker.APIClient does."""
        assert path == "/srv/jupyterhub/jupyterhub.sqlite"
        if container != "jupyterhub-hub" or self.database is None:
            raise NotFound("no such container")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(self.database, "jupyterhub.sqlite")
        return iter([packed.getvalue()]), {}


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
        # Each by their own name.
        (
            {**ANN, "jupyterhub_user_bob": labels("jupyterhub", "home", "bob", "")},
            "jhub-{username}",
            {"jupyterhub-user-ann": "jhub-ann", "jupyterhub-user-bob": "jhub-bob"},
        ),
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


@pytest.mark.parametrize(
    ("users", "lost"),
    [
        (["ann", "bob"], ["jupyterhub-user-ann", "jupyterhub-user-bob"]),
        # Bob was deleted, and his home kept.
        (["ann", "cleo"], ["jupyterhub-user-ann"]),
        # A database that was lost knows nobody who has a home; no database at all.
        (["cleo"], ["jupyterhub-user-ann", "jupyterhub-user-bob"]),
        (None, ["jupyterhub-user-ann", "jupyterhub-user-bob"]),
    ],
)
@pytest.mark.parametrize("in_the_hub", [False, True], ids=["by the playbook", "in the Hub"])
def test_homes_of_people_who_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: list[str] | None, lost: list[str], in_the_hub: bool
) -> None:
    engine = Volumes(**ANN, jupyterhub_user_bob=labels("jupyterhub", "home", "bob", ""))
    file = tmp_path / "hub's.sqlite"
    if users is not None:
        with Session(create_engine(f"sqlite:///{file}")) as db:
            orm.Base.metadata.create_all(db.get_bind())
            db.add_all(orm.User(name=name) for name in users)
            db.commit()
        if in_the_hub:
            monkeypatch.setattr(home_names, "DATABASE", file)
        else:
            engine.database = file
    config = Config({"UserServerSpawner": {"project": "jupyterhub", "volume_name_template": "jhub-{username}"}})
    assert sorted(home_names.lost(engine, config)) == lost


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
    assert found.startswith("hub_volume_name_template: 1 home would look empty: jupyterhub-user-ann, for example")


def test_an_engine_that_does_not_answer_is_no_reason(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{hub_files}/nowhere.sock")
    assert check.problems(CONFIG_FILE, homes=True) == []
