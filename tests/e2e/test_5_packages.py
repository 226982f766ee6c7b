"""Packages that users install: usable in notebooks and marimo, persistent, and harmless to the server."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex

import pytest
from e2e.client import NewUser, Server
from e2e.deployment import Deployment
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


# The packages that a Python has, one letter each.
ENVIRONMENTS = f"""
set -e; cd ~; exec > log.txt 2>&1; set -x
has() {{ "$1" -c "import {BY_PIP}" && printf p; "$1" -c "import {BY_UV}" && printf u; printf .; }}
pip install --user {BY_PIP}; {BY_PIP} -t seen; [ "$(has python)" = p. ]
python -m pip uninstall --yes {BY_PIP}; [ "$(has python)" = . ]
python -m pip install --user {BY_PIP}; [ "$(has python)" = p. ]
python -m venv plain; plain/bin/pip install {BY_UV}; [ "$(has plain/bin/python) $(has python)" = "u. p." ]
mkdir -p work/deep; cd work; uv venv; cd deep; uv pip install {BY_UV}; cd ~
[ "$(has work/.venv/bin/python) $(has python)" = "u. p." ]
. work/.venv/bin/activate
pip install {BY_PIP}; pip uninstall --yes {BY_UV}; [ "$(has python)" = p. ]
deactivate
pip uninstall --yes {BY_PIP}; [ "$(has work/.venv/bin/python) $(has python)" = "p. ." ]
uv pip install {BY_UV}; [ "$(has python) $(has work/.venv/bin/python)" = "u. p." ]
"""
TOOLS = """
set -e; exec > ~/log.txt 2>&1; set -x
cd $(mktemp -d); case $PWD in /var/tmp/*) ;; *) exit 1 ;; esac
[ "$(stat -f -c %T .)" != tmpfs ]; touch /var/tmp/old
[ "$(python -c 'import tempfile; print(tempfile.gettempdir())')" = /var/tmp ]
[ $(stat -f -c %S /dev/shm) -gt 0 ]; [ $(df --output=size -m /dev/shm | tail -1) -ge 700 ]
git init -q .; git config user.name me; git config user.email me@example.org; touch file; git add file
(sleep 3; kill $(pgrep -x nano)) & ! git commit < /dev/tty > /dev/tty
[ "$(git var GIT_EDITOR)" = nano ]
printf text > file; git commit -q -a -m words; git archive --format=zip -o it.zip HEAD
rm file; unzip -q it.zip; grep -q text file
tar -cJf it.tar.xz file; tar -cjf it.tar.bz2 file; tar -xf it.tar.xz; zip -q other.zip file
ps -p $$ | grep -q bash; top -b -n 1 | grep -q bash
curl -s --fail -o status "http://127.0.0.1:8888${JUPYTERHUB_SERVICE_PREFIX}api"; grep -q version status
wget -q -O status2 "http://127.0.0.1:8888${JUPYTERHUB_SERVICE_PREFIX}api"; cmp status status2
"""


def test_virtual_environments_and_tools_do_what_their_words_say(new_user: NewUser) -> None:
    server = new_user(f"packer-{token_hex(2)}").server()
    server.start("base")
    with server.terminal() as terminal:
        for name, script in (("environments", ENVIRONMENTS), ("tools", TOOLS)):
            server.write(f"{name}.sh", script)
            terminal.run(f"bash {name}.sh || {{ tail -n 15 log.txt; false; }}")
    # JupyterLab asks before it deletes.
    server.run("import os; os.makedirs('full/of'); open('full/of/files', 'w').close(); os.symlink('full', 'link')")
    server.request("DELETE", "api/contents/link")
    assert server.run("import os; os.listdir('full'), os.path.lexists('link')").result == "(['of'], False)"
    server.request("DELETE", "api/contents/full")
    server.stop()
    server.start()
    # Temporary files do not outlive a server.
    assert server.run("import os; os.listdir('/var/tmp'), os.path.exists('full')").result == "([], False)"


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


# What the user is told, for each home of broken_homes.py: words of a notice, or nothing.
TOLD = {
    "configured": "",
    "shadows": "",
    "bashrc": "",
    "extension that raises": "",
    "root_dir": "~/.jupyter/jupyter_server_config.py, line 2: TraitError: No such directory",
    "class": "~/.jupyter/jupyter_server_config.py, line 3: TraitError",
    "exit": "~/.jupyter/jupyter_server_config.py, line 2: SystemExit",
    "JSON": "~/.jupyter/jupyter_server_config.d/a.json, line 2: SyntaxError: not JSON",
    "lab": "~/.jupyter/jupyter_lab_config.py, line 1: TraitError",
    "page_config": "~/.jupyter/labconfig/page_config.json, line 1: SyntaxError: not JSON",
    "Hub": "~/.jupyter/jupyter_server_config.py, line 1: ValueError: HubOAuth.api_url is set by the Hub",
    "TLS": "~/.jupyter/jupyter_server_config.py, line 1: ValueError: ServerApp.ssl_options is set by the Hub",
    "no challenge": "it turns off a part that is needed: api/jupyterhub-challenge",
    "no lab": "it turns off a part that is needed: lab",
    "extension that exits": "refused, and this server runs without it",
    "files": "~/.jupyter, ~/.local/share/jupyter, ~/.local/share/jupyter/runtime, ~/.ipython, ~/.config, ~/.cache",
    "profile": "~/.ipython cannot be used",
    "cookie": "runs without it",
    "read-only": "cannot be used",
    "locked": "~/.jupyter cannot be used",
    "full": "cannot be used: is your home full",
}


def test_a_server_starts_whatever_is_in_its_home(deployment: Deployment) -> None:
    script = Path(__file__).with_name("broken_homes.py")
    lines, errors = deployment.run_in_image(script, *TOLD, scratch=("/broken", "64m"))
    found = {seen.pop("home"): seen for seen in lines}
    assert found.keys() == TOLD.keys(), errors
    for name, seen in found.items():
        told = " ".join(seen.get("notices") or [])
        assert TOLD[name] in told if TOLD[name] else not told, f"{name}: {told}\n{errors}"
        parts = [seen.get("lab"), seen.get("terminal"), seen.get("marimo", 200)]
        # The notebook sees the image's templates, and modules beside it.
        assert (parts, seen["cell"]) == ([200, 200, 200], f"True {name == 'shadows'}"), f"{name}: {seen}\n{errors}"
        # The image's kernel wins over those of the same name in the home.
        assert seen["kernels"]["python3"] == "Python 3 (ipykernel)"
        assert ("octave" in seen["kernels"]) == (name == "shadows")
