"""Packages that users install: usable in notebooks and marimo, persistent, and harmless to the server."""

from __future__ import annotations

import pytest
from e2e.client import NewUser, Server
from e2e.marimo_client import Marimo

# Two tiny pure-Python packages that none of our images has.
BY_PIP, BY_UV = "cowsay", "inflection"
SEEN = f"import {BY_PIP}, {BY_UV}\n{BY_UV}.pluralize('notebook')"
# Breaks what the server imports at its start, in every folder that a user's Python searches.
HOSTILE = f"""
import pathlib, site, {BY_PIP}
folders = [pathlib.Path({BY_PIP}.__file__).parents[1], pathlib.Path.home() / ".local/lib/python3.13/site-packages"]
for folder in folders:
    for package in ("tornado", "jupyter_server", "jupyterhub", "traitlets", "sitecustomize"):
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").write_text("raise RuntimeError('broken by the user')")
print(len(folders))
"""
EXTENSIONS = '{"ServerApp": {"jpserver_extensions": {"notebook_shim": true}}}'


def assert_seen(server: Server, notebook: str) -> None:
    assert server.run(SEEN).result == "'notebooks'"
    assert Marimo(server).run(notebook, SEEN) == ["<pre class='text-xs'>&#x27;notebooks&#x27;</pre>"]


@pytest.mark.parametrize("profile", ["base", "datascience"])
def test_user_s_packages_persist_and_cannot_break_the_server(new_user: NewUser, profile: str) -> None:
    user = new_user(f"packer-{profile}")
    server = user.server()
    server.start(profile)
    # The user's packages come on top of the image's.
    assert server.run("import jupyter_client; 1").result == "1"
    with server.terminal() as terminal:
        terminal.run(f"pip install --no-cache-dir {BY_PIP}")
        terminal.run(f"uv pip install --no-cache {BY_UV}")
        # This list is merged with the image's, without which the Hub would never see the server start.
        terminal.run(f"mkdir -p ~/.jupyter && echo '{EXTENSIONS}' > ~/.jupyter/jupyter_server_config.json")
    assert_seen(server, "before.py")
    server.stop()
    server.start()
    assert_seen(server, "after.py")

    assert server.run(HOSTILE).stdout == "2\n"
    server.stop()
    server.start()
    # The user can repair it from the server itself.
    with server.terminal() as terminal:
        terminal.run(
            "rm -rf $VIRTUAL_ENV/lib/python3*/site-packages/{tornado,jupyter_server,jupyterhub,traitlets,sitecustomize}"
        )
        terminal.run("rm -rf ~/.local/lib/python3*")
    assert_seen(server, "mended.py")


def test_pip_install_works_in_a_notebook(new_user: NewUser) -> None:
    server = new_user("packer-notebook").server()
    server.start("base")
    with server.kernel() as kernel:
        shown = kernel.execute(f"%pip install --no-cache-dir {BY_PIP}").stdout
        assert f"Successfully installed {BY_PIP}" in shown
        assert kernel.execute(f"import {BY_PIP}; print('seen')").stdout == "seen\n"


def test_user_s_packages_are_separate_for_each_environment(new_user: NewUser) -> None:
    """A package built for the Python of one image could break another image."""
    user = new_user("packer-apart")
    server = user.server()
    server.start("base")
    with server.terminal() as terminal:
        terminal.run(f"pip install --no-cache-dir {BY_PIP}")
    server.stop()
    server.start("datascience")
    found = server.run(f"import importlib.util; importlib.util.find_spec({BY_PIP!r}) is None").result
    assert found == "True"
