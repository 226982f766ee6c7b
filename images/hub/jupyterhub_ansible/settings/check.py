"""`python -m jupyterhub_ansible check`: would the Hub start with these settings?

Loads the Hub's configuration as the Hub does and prints OK, or the problems (exit code 1); starts nothing.
With `--example` it uses example settings instead, which checks the image itself.
"""

import argparse
import contextlib
import difflib
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
from jupyterhub.app import JupyterHub
from traitlets import TraitError
from traitlets.config import Config, PyFileConfigLoader

from ..engine.errors import DOCKER_ERRORS
from ..rules import specs
from ..rules.secrets import SECRETS
from ..spawner import home_names
from . import own_files

FILES = {
    "ca_certs",
    "data_files_path",
    "google_service_account_keys",
    "logo_file",
    "ssl_cert",
    "ssl_key",
    "template_paths",
}
"""Traits that name files, or folders of files, which must be there when the Hub starts."""
CONFIG_FILE = Path("/usr/local/share/jupyterhub/jupyterhub_config.py")
STATE = Path("/srv/jupyterhub")
"""The Hub's folder, and the mount of its volume."""

EXAMPLE: dict[str, Any] = {
    **specs.of_the_hub().given_defaults(),
    **json.loads(Path(__file__).with_name("example.json").read_text()),
}
"""Settings to check an image with: the defaults, and what a Hub requires besides."""


@contextlib.contextmanager
def example_settings() -> Iterator[None]:
    """Make `load()` read the example, with random secrets, from a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "hub.json").write_text(json.dumps(EXAMPLE))
        for secret in SECRETS:
            (path / secret.file).touch(mode=0o600)
            (path / secret.file).write_text(secrets.token_hex(32))
        os.environ["JUPYTERHUB_SETTINGS_FILE"] = str(path / "hub.json")
        os.environ["JUPYTERHUB_SECRETS_DIR"] = folder
        # The operator's own files may need the real settings, which are checked before the Hub gets them.
        os.environ["JUPYTERHUB_FILES_DIR"] = folder
        yield


def _source() -> str:
    """Return where a wrong trait was set."""
    return "hub_traits or jupyterhub_config.py" if (own_files.folder() / own_files.NAME).is_file() else "hub_traits"


def _known_classes(app: JupyterHub) -> dict[str, Any]:
    """Classes that can be configured: JupyterHub's, the chosen ones, and their parents."""
    chosen = [JupyterHub, app.spawner_class, app.authenticator_class, app.proxy_class, *app.classes]
    return {parent.__name__: parent for cls in chosen for parent in cls.__mro__ if hasattr(parent, "class_traits")}


def _similar(name: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {match[0]}?" if match else ""


def _accepts(cls: Any, values: Config) -> bool:
    try:
        cls(config=Config({cls.__name__: values}))
    except (TraitError, ValueError):
        return False
    return True


def _refused(cls: Any, values: Config) -> Iterator[str]:
    """Traits that `cls` does not have or whose values it does not accept; messages contain no values."""
    name = cls.__name__
    known = cls.class_traits(config=True)
    if unknown := values.keys() - known:
        yield from (f"{_source()}: {name}.{trait}: no such trait{_similar(trait, known)}" for trait in unknown)
    elif not _accepts(cls, values):
        # Tested by leaving one out, since some values of a class are checked against each other.
        wrong = [trait for trait in values if _accepts(cls, _without(values, trait))]
        yield from (f"{_source()}: {name}.{trait}: must be {known[trait].info()}" for trait in wrong)
        if not wrong:
            yield f"{_source()}: {name}: more than one value is of the wrong type: {', '.join(values)}"


def _without(values: Config, trait: str) -> Config:
    return Config({name: value for name, value in values.items() if name != trait})


def _is_in_volume(path: str | Path) -> bool:
    """Whether a path, which may be relative to the Hub's folder, is below the mount of its volume."""
    return Path(os.path.normpath(STATE / path)).is_relative_to(STATE)


def _absent(name: str, values: Config) -> Iterator[str]:
    """Files and folders that a class would read, and that are not in this container.

    Those of the Hub's volume are taken for present: the playbook calls this in a container without it.
    """
    for trait in FILES & values.keys():
        value = own_files.plain(values[trait])
        paths = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
        for path in paths:
            if not isinstance(path, (str, Path)) or not str(path) or _is_in_volume(path):
                continue
            if not Path(path).exists():
                where = "put it into images_hub_files, and write its path there (docs/how-to/hub-files.md)"
                yield f"{_source()}: {name}.{trait}: there is no {path} in the Hub's container; {where}"


def _lost_homes(config: Config) -> Iterator[str]:
    """Homes that the Hub would no longer find; none if Docker does not answer, since then nothing starts anyway."""
    try:
        found = home_names.lost(docker.from_env().api, config)
    except DOCKER_ERRORS:
        return
    if found:
        old, new = next(iter(sorted(found.items())))
        homes = "1 home" if len(found) == 1 else f"{len(found)} homes"
        yield (
            f"hub_volume_name_template: {homes} would look empty: {old}, for example, would be {new}, which does not"
            " exist; set it as it was, or move them first (docs/how-to/deleted-users.md)"
        )


def problems(config_file: Path, *, homes: bool = False) -> list[str]:
    """Return what would keep the Hub from starting, or what it would ignore, in `hub_traits` and in our configuration.

    Args:
        config_file: jupyterhub_config.py.
        homes: also look whether the Hub would find all homes that the engine has.

    Raises:
        SystemExit: hub.json or a secret is unusable; the message says why.
    """
    config = PyFileConfigLoader(str(config_file)).load_config()
    # First, since it chooses the other classes.
    if found := list(_refused(JupyterHub, config["JupyterHub"])):
        return found
    classes = _known_classes(JupyterHub(config=config))
    for name, values in config.items():
        found += _absent(name, values)
        if name in classes:
            found += _refused(classes[name], values)
        else:
            found.append(f"{_source()}: {name}: no such class{_similar(name, classes)}")
    if homes and not found:
        found += _lost_homes(config)
    return found


def main() -> None:
    """Print OK, or exit with the problems."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible check", description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG_FILE, help="jupyterhub_config.py")
    parser.add_argument("--example", action="store_true", help="check the image, with settings of its own")
    parser.add_argument(
        "--homes", action="store_true", help="also look whether all homes would be found (needs Docker)"
    )
    arguments = parser.parse_args()
    with example_settings() if arguments.example else contextlib.nullcontext():
        found = problems(arguments.config, homes=arguments.homes)
    if found:
        sys.exit("\n".join(found))
    print("OK")
