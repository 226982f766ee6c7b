"""A real JupyterHub without its proxy, for unit tests of its pages and requests."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import requests
from jupyterhub_ansible.app import JupyterHub
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings
from jupyterhub_ansible.sharing import cards as shared_cards
from jupyterhub_ansible.spawner import server_cards
from jupyterhub_ansible.spawner.start_page import TEMPLATES
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from traitlets.config import Config

PASSWORD, ADMIN_PASSWORD = secrets.token_urlsafe(9), secrets.token_urlsafe(33)
DAY_S = 86400


class Site:
    """A Hub that listens on a port, in a separate thread.

    Args:
        folder: for its files.
        pages: further handlers (path, class), relative to the Hub's prefix.
        settings: of the deployment, besides those of the example; only what pages show.
        config: of JupyterHub's classes.
    """

    def __init__(
        self,
        folder: Path,
        pages: Iterable[tuple[str, type]] = (),
        settings: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.file = folder / "config.py"
        self.file.touch()
        self.pages = tuple(pages)
        self.config = Config()
        self.config.JupyterHub.db_url = f"sqlite:///{folder}/jupyterhub.sqlite"
        self.config.JupyterHub.cookie_secret = secrets.token_bytes(32)
        self.config.JupyterHub.authenticator_class = "shared-password"
        self.config.JupyterHub.token_expires_in_max_seconds = 90 * DAY_S
        self.config.JupyterHub.template_paths = [str(TEMPLATES)]
        made = Settings.model_validate_json(json.dumps({**EXAMPLE, **(settings or {})}))
        self.config.JupyterHub.template_vars = {
            "own_servers": server_cards.of(made),
            "shared_with_me": shared_cards.of,
            "workspaces": lambda user: dict,
            "shared_folders": lambda user: list,
        }
        self.config.SharedPasswordAuthenticator.user_password = PASSWORD
        self.config.SharedPasswordAuthenticator.admin_password = ADMIN_PASSWORD
        self.config.Authenticator.admin_users = {"admin"}
        self.config.Authenticator.allow_all = True
        self.config.ConfigurableHTTPProxy.should_start = False
        self.config.ConfigurableHTTPProxy.auth_token = "x"
        self.config.merge(Config(config or {}))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self.hub = hub = JupyterHub(config=self.config, config_file=str(self.file))
        await hub.initialize([])
        hub.tornado_application.add_handlers(".*", [(f"/hub{path}", handler) for path, handler in self.pages])
        listening, port = bind_unused_port()
        server = HTTPServer(hub.tornado_application, xheaders=True)
        server.add_socket(listening)
        self.port, self.url = port, f"http://127.0.0.1:{port}/hub"
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._end.wait()
        server.stop()

    def __enter__(self) -> Site:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def inside(self, call: Callable[[], Any]) -> Any:
        """Return what a function returns in the Hub's thread, the only one that may use its database."""

        async def called() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(30)

    def log_in(self, name: str, password: str, address: str = "192.0.2.1") -> requests.Response:
        """Send the form."""
        with requests.Session() as session:
            return self._log_in(session, name, password, address)

    def session(self, name: str) -> requests.Session:
        """Return a browser in which a user is logged in; `admin` is the administrator."""
        session = requests.Session()
        self._log_in(session, name, ADMIN_PASSWORD if name == "admin" else PASSWORD)
        # As our pages do.
        session.headers["X-XSRFToken"] = session.cookies["_xsrf"]
        return session

    def _log_in(
        self, session: requests.Session, name: str, password: str, address: str = "192.0.2.1"
    ) -> requests.Response:
        session.headers["X-Real-Ip"] = address
        session.get(f"{self.url}/login").raise_for_status()
        fields = {"_xsrf": session.cookies["_xsrf"], "username": name, "password": password}
        return session.post(f"{self.url}/login", data=fields, allow_redirects=False)

    def ask_for_token(self, name: str, password: str, address: str = "192.0.2.1", **wanted: Any) -> requests.Response:
        """Request a token with a password."""
        return requests.post(
            f"{self.url}/api/users/{name}/tokens",
            json={"auth": {"username": name, "password": password}, **wanted},
            headers={"X-Real-Ip": address},
            timeout=30,
        )
