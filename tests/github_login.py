"""Logging in with the GitHub authenticator against the stand-in for GitHub, for unit tests."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from github import GitHub
from jupyterhub import orm
from jupyterhub_ansible.auth import membership_watch
from jupyterhub_ansible.auth.github import GitHubMemberAuthenticator
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from traitlets.config import Config, Configurable

APP = "Iv1.test"


class App(Configurable):
    """The parts of JupyterHub that an authenticator uses."""

    def __init__(self) -> None:
        super().__init__()
        engine = create_engine("sqlite://")
        orm.Base.metadata.create_all(engine)
        self.db = Session(engine)


class Door:
    """The authenticator, called as JupyterHub does."""

    def __init__(self, github: GitHub, url: str, app: App, **settings: Any) -> None:
        self.github = github
        names = {"enable_auth_state": True, "github_url": url, "http_request_kwargs": {"request_timeout": 2}}
        self.authenticator = GitHubMemberAuthenticator(
            parent=app, config=Config({"GitHubMemberAuthenticator": {**names, **settings}})
        )

    def token(self, login: str, scopes: str | None = None) -> dict[str, Any]:
        scope = ",".join(self.authenticator.scope) if scopes is None else scopes
        return {"access_token": self.github.issue_token(login, APP, scope), "token_type": "bearer", "scope": scope}

    async def _enter(self, token: dict[str, Any]) -> dict[str, Any] | None:
        async def authenticated(*_: Any) -> Any:
            return await self.authenticator._token_to_auth_model(token)

        self.authenticator.authenticate = authenticated
        model: dict[str, Any] | None = await self.authenticator.get_authenticated_user(None, None)
        return model

    def enter(self, login: str) -> dict[str, Any]:
        """Log in, as after the web flow."""
        model = asyncio.run(self._enter(self.token(login)))
        assert model
        return model

    def stays(self, model: dict[str, Any]) -> Any:
        """Return the result of refreshing the user."""
        return asyncio.run(self.authenticator.refresh_user(self.user(model)))

    def user(self, model: dict[str, Any]) -> Any:
        async def auth_state() -> Any:
            return model["auth_state"]

        return SimpleNamespace(name=model["name"], get_auth_state=auth_state, sync_groups=lambda groups: None)


def may_stay(door: Door, model: dict[str, Any]) -> bool:
    app = SimpleNamespace(authenticator=door.authenticator)
    return asyncio.run(membership_watch.may_stay(app, door.user(model)))
