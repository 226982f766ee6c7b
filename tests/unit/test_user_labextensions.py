"""Which of a user's JupyterLab extensions are offered: real folders, read as jupyterlab_server does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from user_labextensions import Extensions, usable

SERVER = {"discovery": {"server": {"managers": ["pip"], "base": {"name": "jupyterlab-git"}}}}
KERNEL = {"discovery": {"kernel": [{"kernel_spec": {"language": "^python"}, "base": {"name": "ipympl"}}]}}


def read(labextensions_path: list[str]) -> Extensions:
    """As jupyterlab_server.config.get_federated_extensions."""
    found: Extensions = {}
    for folder in labextensions_path:
        for path in [*Path(folder).glob("[!@]*/package.json"), *Path(folder).glob("@*/*/package.json")]:
            package = json.loads(path.read_text())
            install = path.with_name("install.json")
            data = {"ext_dir": folder, "jupyterlab": package.get("jupyterlab", {}), "version": package["version"]}
            if install.exists():
                data["install"] = json.loads(install.read_text())
            found.setdefault(package["name"], data)
    return found


class Environment:
    """A Python environment with extensions of JupyterLab."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.extensions = prefix / "share/jupyter/labextensions"

    def install(
        self, name: str, metadata: dict[str, Any], *, version: str = "1", files: str = "", by: str = ""
    ) -> None:
        folder = self.extensions / name
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"name": name, "version": version, "jupyterlab": metadata}))
        if by:
            (folder / "install.json").write_text(json.dumps({"packageName": by}))
            package = self.prefix / f"lib/python3.13/site-packages/{by.replace('-', '_')}-1.dist-info"
            package.mkdir(parents=True)
            (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {by}\nVersion: 1\n")
            (package / "RECORD").write_text(files)


@pytest.fixture
def image(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "opt/jupyter")


@pytest.fixture
def user(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "home/envs/base-py3.13")


def offered(user: Environment, image: Environment) -> dict[str, str]:
    """Versions by name; the user's come first, as in LabApp.extra_labextensions_path."""
    found = usable(read, image.prefix)([str(user.extensions), str(image.extensions)])
    return {name: extension["version"] for name, extension in found.items()}


def test_a_user_s_front_end_without_a_server_extension_is_offered(user: Environment, image: Environment) -> None:
    user.install("jupyter-matplotlib", KERNEL, by="ipympl", files="ipympl/__init__.py,,\n")
    user.install("@me/theme", {}, version="2")
    image.install("@me/theme", {})
    assert offered(user, image) == {"jupyter-matplotlib": "1", "@me/theme": "2"}


def test_one_that_needs_a_server_extension_is_not(user: Environment, image: Environment) -> None:
    user.install("@jupyterlab/git", SERVER, by="jupyterlab-git-core")
    user.install(
        "jupyterlab-jupytext", {}, by="jupytext", files="../../../etc/jupyter/jupyter_server_config.d/jupytext.json,,\n"
    )
    assert offered(user, image) == {}


def test_the_image_s_front_end_fits_its_server_extension(user: Environment, image: Environment) -> None:
    user.install("@jupyterlab/git", SERVER, version="2")
    image.install("@jupyterlab/git", SERVER)
    assert offered(user, image) == {"@jupyterlab/git": "1"}


def test_it_is_said_once_why(user: Environment, image: Environment, caplog: pytest.LogCaptureFixture) -> None:
    user.install("@jupyterlab/git", SERVER)
    get = usable(read, image.prefix)
    for _ in range(2):
        get([str(user.extensions)])
    assert [record.message for record in caplog.records] == [
        "JupyterLab's extension @jupyterlab/git needs a server extension, so it works only from the image"
    ]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"name": "x", "version": "1", "jupyterlab": 3}'])
def test_a_broken_folder_of_a_user_hides_no_other_extension(
    user: Environment, image: Environment, content: str
) -> None:
    image.install("@jupyterlab/git", SERVER)
    (user.extensions / "broken").mkdir(parents=True)
    (user.extensions / "broken/package.json").write_text(content)
    assert offered(user, image) == {"@jupyterlab/git": "1"}
