"""`python -m jupyterhub_ansible check`: would the Hub start with these settings?

Loads the Hub's configuration as the Hub does, says OK or the problems (exit code 1), and starts nothing.
With `--example` it brings settings of its own: a check of the image itself.
"""

import argparse
import contextlib
import difflib
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jupyterhub.app import JupyterHub
from traitlets import TraitError
from traitlets.config import Config, PyFileConfigLoader

from ..rules import specs
from ..rules.secrets import SECRETS

CONFIG_FILE = Path("/usr/local/share/jupyterhub/jupyterhub_config.py")

EXAMPLE: dict[str, Any] = {
    **specs.of_the_hub().given_defaults(),
    **json.loads(Path(__file__).with_name("example.json").read_text()),
}
"""Settings that an image is tried with: the defaults, and what a Hub needs besides."""


@contextlib.contextmanager
def example_settings() -> Iterator[None]:
    """Let `load()` find the example, with secrets made up for it, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "hub.json").write_text(json.dumps(EXAMPLE))
        for secret in SECRETS:
            (path / secret.file).touch(mode=0o600)
            (path / secret.file).write_text(secrets.token_hex(32))
        os.environ["JUPYTERHUB_SETTINGS_FILE"] = str(path / "hub.json")
        os.environ["JUPYTERHUB_SECRETS_DIR"] = folder
        yield


def _known_classes(app: JupyterHub) -> dict[str, Any]:
    """Classes that can be configured: JupyterHub's, the chosen ones, and their parents."""
    chosen = [JupyterHub, app.spawner_class, app.authenticator_class, app.proxy_class, *app.classes]
    return {parent.__name__: parent for cls in chosen for parent in cls.__mro__ if hasattr(parent, "class_traits")}


def _similar(word: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1)
    return f"; do you mean {match[0]}?" if match else ""


def _accepts(cls: Any, values: Config) -> bool:
    try:
        cls(config=Config({cls.__name__: values}))
    except (TraitError, ValueError):
        return False
    return True


def _refused(cls: Any, values: Config) -> Iterator[str]:
    """Traits that `cls` does not have, or whose value it does not take; no value is told."""
    name = cls.__name__
    known = cls.class_traits(config=True)
    if unknown := values.keys() - known:
        yield from (f"hub_traits: {name}.{trait}: no such trait{_similar(trait, known)}" for trait in unknown)
    elif not _accepts(cls, values):
        # The values of a class do not stand alone: some are checked against one another.
        guilty = [trait for trait in values if _accepts(cls, _without(values, trait))]
        yield from (f"hub_traits: {name}.{trait}: must be {known[trait].info()}" for trait in guilty)
        if not guilty:
            yield f"hub_traits: {name}: more than one value is of the wrong kind: {', '.join(values)}"


def _without(values: Config, trait: str) -> Config:
    return Config({name: value for name, value in values.items() if name != trait})


def problems(config_file: Path) -> list[str]:
    """What would stop the Hub from starting, or be ignored by it: `hub_traits` and our own alike.

    Raises:
        SystemExit: hub.json or a secret cannot be used; its text says why.
    """
    config = PyFileConfigLoader(str(config_file)).load_config()
    # First, since the other classes are chosen by it.
    if found := list(_refused(JupyterHub, config["JupyterHub"])):
        return found
    classes = _known_classes(JupyterHub(config=config))
    for name, values in config.items():
        if name in classes:
            found += _refused(classes[name], values)
        else:
            found.append(f"hub_traits: {name}: no such class{_similar(name, classes)}")
    return found


def main() -> None:
    """Print OK, or exit with the problems."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible check", description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG_FILE, help="jupyterhub_config.py")
    parser.add_argument("--example", action="store_true", help="check the image, with settings of its own")
    arguments = parser.parse_args()
    with example_settings() if arguments.example else contextlib.nullcontext():
        found = problems(arguments.config)
    if found:
        sys.exit("\n".join(found))
    print("OK")
