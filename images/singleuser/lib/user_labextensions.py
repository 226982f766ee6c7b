"""Offers JupyterLab's extensions from a user's own packages only if they work without a server extension.

The server runs from the image, so that users' packages cannot break it, and loads server extensions only from there.
The front end of an extension that needs one would show errors, with advice that cannot help.  Where the image has the
same extension, its front end is used, which fits its server extension.
"""

import logging
import sys
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

Extensions = dict[str, dict[str, Any]]

_log = logging.getLogger("tornado.application")


def needs_server(extension: dict[str, Any]) -> bool:
    """Whether an extension (of `get_federated_extensions`) needs a server extension.

    Either its metadata says so, or its Python package enables one.
    """
    if extension["jupyterlab"].get("discovery", {}).get("server"):
        return True
    name = extension.get("install", {}).get("packageName")
    prefix = Path(extension["ext_dir"]).parents[2]
    folders = [str(folder) for folder in prefix.glob("lib/python3*/site-packages")]
    packages = metadata.distributions(name=name, path=folders) if name else ()
    return any("/jupyter_server_config.d/" in (package.read_text("RECORD") or "") for package in packages)


def usable(read: Callable[[list[str]], Extensions], image: Path) -> Callable[[list[str]], Extensions]:
    """Return jupyterlab_server's `get_federated_extensions` for a server that runs from `image`."""
    left_out: set[str] = set()

    def get_federated_extensions(labextensions_path: list[str]) -> Extensions:
        found: Extensions = {}
        for folder in labextensions_path:
            try:
                extensions = read([folder])
                if not Path(folder).is_relative_to(image):
                    without = {name: each for name, each in extensions.items() if not needs_server(each)}
                    for name in sorted(extensions.keys() - without.keys() - left_out):
                        left_out.add(name)
                        _log.warning(
                            "JupyterLab's extension %s needs a server extension, so it works only from the image", name
                        )
                    extensions = without
            except Exception as error:
                # A user's folder may contain anything.
                _log.warning("No extensions of JupyterLab from %s: %r", folder, error)
                continue
            found = {**extensions, **found}
        return found

    return get_federated_extensions


def install() -> None:
    """Patch jupyterlab_server."""
    config: Any = import_module("jupyterlab_server.config")
    config.get_federated_extensions = usable(config.get_federated_extensions, Path(sys.prefix))
