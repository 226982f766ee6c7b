"""Starts a server in each of these homes, as the Hub does, and uses it; runs inside an image of users' servers.

usage: python - [HOME...] < broken_homes.py; prints what was seen in each, as JSON.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, "/opt/jupyter/libexec")
try_server: Any = import_module("try_server")

# The test mounts a file system of a few MB here.
HOME = Path("/broken")
PACKAGES = HOME / ".local/share/jupyterhub/envs/base-py3.13"
START_S = 120

# The image's templates, and modules beside the notebook.
CELL = """
import importlib.util, random, nbconvert
page, _ = nbconvert.HTMLExporter().from_notebook_node(__import__("nbformat").v4.new_notebook())
print(len(page) > 1000, importlib.util.find_spec("beside") is not None)
"""

Files = dict[str, str]
CONFIG = ".jupyter/jupyter_server_config"
# The names of what Python's launchers, marimo, Jupyter and the kernel import early, or late.
SHADOWS = (
    "importlib",
    "runpy",
    "typing",
    "random",
    "secrets",
    "ast",
    "logging",
    "json",
    "pkgutil",
    "tornado",
    "starlette",
)


def extension(text: str) -> Files:
    """Return an extension of Jupyter's server."""
    return {
        "extra/mine.py": text,
        f"{CONFIG}.py": f"import sys\nsys.path.insert(0, {str(HOME / 'extra')!r})\n",
        f"{CONFIG}.d/mine.json": '{"ServerApp": {"jpserver_extensions": {"mine": true}}}',
    }


def switched_off(name: str) -> Files:
    return {f"{CONFIG}.json": json.dumps({"ServerApp": {"jpserver_extensions": {name: False}}}, indent=2)}


HOMES: dict[str, Files] = {
    # Harmless.
    "configured": {f"{CONFIG}.py": "c.ServerApp.max_body_size = 12345678\n"},
    "shadows": {
        **{f"{name}.py": "raise RuntimeError('shadowed')\n" for name in SHADOWS},
        "beside.py": "",
        ".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["/gone"], "display_name": "Old"}',
        f"{PACKAGES}/share/jupyter/kernels/python3/kernel.json": '{"argv": ["/gone"], "display_name": "Older"}',
        f"{PACKAGES}/share/jupyter/kernels/octave/kernel.json": '{"argv": ["octave"], "display_name": "Octave"}',
    },
    "bashrc": {".bashrc": "exit 1\n", ".ipython/profile_default/ipython_config.py": "c.no = \n"},
    "extension that raises": extension("1 / 0\n"),
    # Refused.
    "root_dir": {f"{CONFIG}.py": "# mine\nc.ServerApp.root_dir = '/gone'\n"},
    "class": {f"{CONFIG}.py": "\n\nc.ServerApp.contents_manager_class = 'not.Installed'\n"},
    "exit": {f"{CONFIG}.py": "import sys\nsys.exit()\n"},
    "JSON": {f"{CONFIG}.d/a.json": "{\n not JSON"},
    "lab": {".jupyter/jupyter_lab_config.py": "c.LabApp.default_url = 5\n"},
    "page_config": {".jupyter/labconfig/page_config.json": "no"},
    "Hub": {f"{CONFIG}.py": "c.HubOAuth.api_url = 'http://127.0.0.1:9'\n"},
    "TLS": {f"{CONFIG}.py": "c.ServerApp.ssl_options = {'certfile': '/gone', 'keyfile': '/gone'}\n"},
    "no challenge": switched_off("jupyterhub_challenge"),
    "no lab": switched_off("jupyterlab"),
    "extension that exits": extension(
        "import sys\ndef _load_jupyter_server_extension(app):\n    sys.exit(3)\n"
        "def _jupyter_server_extension_points():\n    return [{'module': 'mine'}]\n"
    ),
    # Replaced.
    "files": dict.fromkeys((".jupyter", ".local", ".ipython", ".config", ".cache"), "no folder"),
    "profile": {".ipython/profile_default": "no folder"},
    "cookie": {".local/share/jupyter/runtime/jupyter_cookie_secret/folder": ""},
    "read-only": {".jupyter/lab/mine": ""},
    "locked": {".jupyter/mine": ""},
    "full": {},
}


# It takes two seconds to start.
WITH_MARIMO = ("shadows", "root_dir", "files", "full")


def make(name: str) -> None:
    """Make a home."""
    for path, text in HOMES[name].items():
        file = HOME / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if name == "read-only":
        (HOME / ".jupyter").chmod(0o500)
        HOME.chmod(0o500)
    elif name == "locked":
        (HOME / ".jupyter").chmod(0)
    elif name == "full":
        with suppress(OSError), (HOME / "big").open("wb", buffering=0) as big:
            while big.write(b"x" * 4096):
                pass


def _attempt(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]


def _get(path: str) -> requests.Response:
    url = f"http://{try_server.HOST}{try_server.BASE}{path}"
    return requests.get(url, headers=try_server.AUTHORIZATION, timeout=70)


def _kernels() -> dict[str, str]:
    kernels = _get("api/kernelspecs").json()["kernelspecs"]
    return {name: kernel["spec"]["display_name"] for name, kernel in kernels.items()}


def ready(server: "subprocess.Popen[bytes]") -> bool:
    """Wait as the Hub does, and until JupyterLab is there: a server without it starts again at once."""
    deadline = time.monotonic() + START_S
    challenge = f"api/jupyterhub-challenge?nonce={try_server.NONCE}"
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if _get(challenge).ok and _get("lab").ok:
                return True
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    return False


def use(name: str, server: "subprocess.Popen[bytes]", began: float) -> dict[str, Any]:
    """Use the server as the Hub and a user do, and return what was seen."""
    if not ready(server):
        return {"ready_s": None}
    seen: dict[str, Any] = {"ready_s": round(time.monotonic() - began, 1)}
    seen["lab"] = _attempt(lambda: _get("lab").status_code)
    seen["notices"] = _attempt(lambda: _get("jupyterhub-idle").json().get("notices"))
    for _ in range(3):
        seen["cell"] = _attempt(lambda: asyncio.run(asyncio.wait_for(try_server.output_of(CELL), 60)).strip())
        # On a busy machine, tornado does not wait long enough for the kernel.
        if not seen["cell"].startswith("HTTPTimeoutError"):
            break
    seen["kernels"] = _attempt(_kernels)
    seen["terminal"] = _attempt(lambda: try_server.ask("POST", "api/terminals").status_code)
    if name in WITH_MARIMO:
        seen["marimo"] = _attempt(lambda: _get("marimo/").status_code)
    return seen


def empty(folder: Path) -> None:
    for path in [folder, *(Path(root) / name for root, names, _ in os.walk(folder) for name in names)]:
        if not path.is_symlink():
            path.chmod(0o700)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def main() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), try_server.Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        environment = {
            **try_server.environment(f"http://127.0.0.1:{hub.server_port}"),
            "HOME": str(HOME),
            "VIRTUAL_ENV": str(PACKAGES),
            "PATH": f"{PACKAGES}/bin:/opt/jupyter/bin:/usr/local/bin:/usr/bin:/bin",
        }
        for name in sys.argv[1:] or HOMES:
            HOME.chmod(0o700)
            empty(HOME)
            make(name)
            with tempfile.TemporaryFile("w+") as log:
                began = time.monotonic()
                server = subprocess.Popen(
                    ["entrypoint", "jupyterhub-singleuser"], env=environment, cwd=HOME, stdout=log, stderr=log
                )
                try:
                    seen = use(name, server, began)
                finally:
                    server.terminate()
                    try:
                        server.wait(20)
                    except subprocess.TimeoutExpired:
                        server.kill()
                        server.wait()
                    log.seek(0)
                    if len(sys.argv) > 1:
                        print(log.read(), file=sys.stderr)
                print(json.dumps({"home": name, **seen}), flush=True)


if __name__ == "__main__":
    main()
