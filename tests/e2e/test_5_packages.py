"""Packages that users install for themselves: seen by notebooks and marimo, kept, and no danger to the server."""

from __future__ import annotations

import pytest
from e2e.client import NewUser, Server
from e2e.marimo_client import Marimo

# Two tiny pure packages, in none of our images.
BY_PIP, BY_UV = "cowsay", "inflection"
SEEN = f"import {BY_PIP}, {BY_UV}\n{BY_UV}.pluralize('notebook')"
# What the server itself imports at its start, broken in every folder that a user's Python may look into.
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
def test_own_packages(new_user: NewUser, profile: str) -> None:
    user = new_user(f"packer-{profile}")
    server = user.server()
    server.start(profile)
    # A package of the image's is there before: the own ones come on top of it.
    assert server.run("import jupyter_client; 1").result == "1"
    with server.terminal() as terminal:
        terminal.run(f"pip install --no-cache-dir {BY_PIP}")
        terminal.run(f"uv pip install --no-cache {BY_UV}")
        # A list of their own, which adds to the image's: without that one's the Hub would wait for the server in vain.
        terminal.run(f"mkdir -p ~/.jupyter && echo '{EXTENSIONS}' > ~/.jupyter/jupyter_server_config.json")
    assert_seen(server, "before.py")
    server.stop()
    server.start()
    assert_seen(server, "after.py")

    assert server.run(HOSTILE).stdout == "2\n"
    server.stop()
    server.start()
    # The user mends it with what the server offers.
    with server.terminal() as terminal:
        terminal.run(
            "rm -rf $VIRTUAL_ENV/lib/python3*/site-packages/{tornado,jupyter_server,jupyterhub,traitlets,sitecustomize}"
        )
        terminal.run("rm -rf ~/.local/lib/python3*")
    assert_seen(server, "mended.py")


def test_install_in_a_notebook(new_user: NewUser) -> None:
    server = new_user("packer-notebook").server()
    server.start("base")
    with server.kernel() as kernel:
        shown = kernel.execute(f"%pip install --no-cache-dir {BY_PIP}").stdout
        assert f"Successfully installed {BY_PIP}" in shown
        assert kernel.execute(f"import {BY_PIP}; print('seen')").stdout == "seen\n"


def test_other_environments_do_not_see_them(new_user: NewUser) -> None:
    """A package that was built for one image's Python would break another image."""
    user = new_user("packer-apart")
    server = user.server()
    server.start("base")
    with server.terminal() as terminal:
        terminal.run(f"pip install --no-cache-dir {BY_PIP}")
    server.stop()
    server.start("datascience")
    found = server.run(f"import importlib.util; importlib.util.find_spec({BY_PIP!r}) is None").result
    assert found == "True"
