"""Logging in with GitHub: who may come in, and who must leave.

oauthenticator's GitHubOAuthenticator takes a GitHub that does not answer for "not a member", and asks for membership
at the login only. Here the same question is asked again for as long as somebody is in, and an answer that did not
come decides nothing.
"""
# JupyterHub and oauthenticator have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from jupyterhub.handlers import BaseHandler
from oauthenticator.github import GitHubOAuthenticator
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from traitlets import Set, Unicode

from . import break_glass, membership
from .errors import PageError
from .identity import Identities, NameTakenError

_TIMEOUT = 599
"""Of tornado: no answer at all."""


class GitHubUnavailableError(PageError):
    """GitHub does not answer, or not now."""

    def __init__(self, why: str) -> None:
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "GitHub does not answer, so that nobody can log in just now. Please try again in a few minutes."
            " Whoever is logged in can go on working.",
            why=why,
        )


class RefusedError(PageError):
    """Somebody may not be in."""

    def __init__(self, message: str, *, why: str = "") -> None:
        super().__init__(HTTPStatus.FORBIDDEN, f"{message} Please ask the administrator.", why=why or message)


def _unavailable(code: int, headers: Mapping[str, str]) -> str:
    """Why an answer is none; nothing if it is one.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "it did not answer" if code == _TIMEOUT else f"it answered with {code}"
    limited = headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers
    if code == HTTPStatus.TOO_MANY_REQUESTS or (code == HTTPStatus.FORBIDDEN and limited):
        return "its rate limit is used up"
    return ""


class GitHubMemberAuthenticator(GitHubOAuthenticator):
    """GitHub's accounts, as long as they are members; teams are groups, named `organization:team`."""

    groups_of_environments = Set(Unicode(), help="Teams whose members may use environments that others may not").tag(
        config=True
    )

    def _scope_default(self) -> list[str]:
        # Without it only public members and no teams are seen.
        return ["read:org"] if self.allowed_organizations or self.manage_groups else []

    def _manage_groups_default(self) -> bool:
        return bool(self._teams or self.allowed_organizations)

    @property
    def _teams(self) -> set[str]:
        """Those that the settings name."""
        return {*self.allowed_groups, *self.admin_groups, *self.groups_of_environments}

    def _populate_teams_in_auth_state_default(self) -> bool:
        return bool(self.manage_groups)

    # --- GitHub's answers

    async def fetch(self, req: HTTPRequest, label: str = "fetching", parse_json: bool = True, **kwargs: Any) -> Any:
        """Ask GitHub, and tell no answer from a negative one.

        Raises:
            GitHubUnavailableError: it does not answer, or not for now.
            HTTPClientError: it answered with an error.
        """
        try:
            answer = await super().fetch(req, label, parse_json, **kwargs)
        except HTTPClientError as error:
            if why := _unavailable(error.code, error.response.headers if error.response else {}):
                raise GitHubUnavailableError(why) from None
            raise
        except OSError as error:
            raise GitHubUnavailableError(f"it cannot be reached: {error.strerror or error}") from None
        if isinstance(answer, HTTPResponse) and (why := _unavailable(answer.code, answer.headers)):
            raise GitHubUnavailableError(why)
        return answer

    # --- who somebody is

    @property
    def _identities(self) -> Identities:
        return Identities(self.parent.db)

    def user_info_to_username(self, user_info: Mapping[str, Any]) -> str:
        """Return the name that the account had at its first login.

        Raises:
            RefusedError: the name belongs to another account here.
        """
        try:
            return self._identities.username(user_info["id"], user_info["login"])
        except NameTakenError as taken:
            raise RefusedError(
                f"The name {taken.username} belongs to another GitHub account here: somebody had it before you."
                " Its files and rights are not given to you.",
                why=f"{taken}, and not of number {user_info['id']}, {user_info['login']}",
            ) from None

    async def run_post_auth_hook(self, handler: BaseHandler, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Remember who came in; this is the first moment at which it is sure that somebody does."""
        model: dict[str, Any] = await super().run_post_auth_hook(handler, auth_model)
        account = model["auth_state"][self.user_auth_state_key]
        self._identities.remember(account["id"], model["name"], account["login"])
        return model

    # --- who may come in

    async def get_authenticated_user(self, handler: BaseHandler, data: Any) -> Any:
        """Let somebody in, and log why not.

        Raises:
            PageError: it is not possible; its page says why.
        """
        try:
            return await super().get_authenticated_user(handler, data)
        except PageError as error:
            self.log.warning("Nobody was let in: %s", error.why)
            raise

    def _names(self, auth_model: Mapping[str, Any]) -> set[str]:
        """The user's name here and the login of now, which settings may name alike."""
        return {auth_model["name"], auth_model["auth_state"][self.user_auth_state_key]["login"].lower()}

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Say of everybody whether he is an administrator: who is taken from the settings is none any more."""
        model: dict[str, Any] = await super().update_auth_model(auth_model)
        model["admin"] = bool(self._names(model) & self.admin_users)
        return model

    async def get_user_groups(self, auth_state: Mapping[str, Any]) -> set[str]:
        """Return the teams of those organizations that the settings name; others are none of the Hub's business."""
        ours = {name.partition(":")[0] for name in (*self.allowed_organizations, *self._teams)}
        teams: Iterable[Mapping[str, Any]] = auth_state.get("teams", [])
        named = ((team["organization"]["login"].lower(), team["slug"]) for team in teams)
        return {f"{organization}:{slug}" for organization, slug in named if organization in ours}

    def check_blocked_users(self, username: str, auth_model: Mapping[str, Any]) -> bool:
        """Return whether somebody is not blocked.

        Raises:
            RefusedError: with a page that says so.
        """
        if self._names(auth_model) & self.blocked_users:
            raise RefusedError("Your account is blocked here.")
        return True

    async def check_allowed(self, username: str, auth_model: dict[str, Any]) -> bool:
        """Return True if somebody may come in.

        Raises:
            RefusedError: with a page that says why not.
            GitHubUnavailableError: it is not known.
        """
        # Not GitHubOAuthenticator's, which asks for organizations by the user's name.
        if await super(GitHubOAuthenticator, self).check_allowed(username, auth_model):
            return True
        if self._names(auth_model) & self.allowed_users:
            return True
        account = auth_model["auth_state"][self.user_auth_state_key]["login"]
        token = auth_model["auth_state"]["token_response"]
        for organization in sorted(self.allowed_organizations):
            # By the login of now; the user's name may be an earlier one.
            if await self._check_membership_allowed_organizations(
                organization, account, token["access_token"], token["token_type"]
            ):
                return True
        raise RefusedError(self._why_not(account))

    def _why_not(self, account: str) -> str:
        ways = [f"the organization {name}" for name in sorted(self.allowed_organizations)]
        ways += [f"the team {name}" for name in sorted(self.allowed_groups)]
        if not ways:
            return f"The GitHub account {account} is not on the list of those who may log in here."
        return (
            f"The GitHub account {account} is not a member of {' or '.join(ways)}, so it may not log in here."
            " If it is one, the organization may not have approved this application yet."
        )

    # --- who must leave

    def get_handlers(self, app: Any) -> list[Any]:
        """Begin to look after those who are in; JupyterHub calls this once, on its event loop, with itself."""
        self._watch = asyncio.ensure_future(membership.watch(app, self.auth_refresh_age))
        return [*super().get_handlers(app), (break_glass.PATH, break_glass.BreakGlassHandler)]

    def can_ask(self, auth_state: Mapping[str, Any]) -> bool:
        """Return whether the account gave us what the settings of now need to know of it.

        With a team in the settings for the first time it did not, and must log in again: that says nothing against it.
        """
        # GitHub separates them by commas, oauthenticator by blanks; who came by another way has none.
        given = ",".join(auth_state.get("scope", self.scope)).split(",")
        return set(self.scope) <= set(given)

    async def refresh_user(self, user: Any, handler: BaseHandler | None = None, **kwargs: Any) -> Any:
        """Look again whether somebody may be in.

        Returns:
            What is new of the user; True if that cannot be known now; False if the user may not stay.
        """
        if user.name == break_glass.USER:
            return break_glass.lasts(await user.get_auth_state())
        if user.name in self.blocked_users:
            return False
        try:
            model = await super().refresh_user(user, handler, **kwargs)
            if isinstance(model, dict):
                self.check_blocked_users(user.name, model)
                await self.check_allowed(user.name, model)
        except GitHubUnavailableError as error:
            self.log.warning("%s stays in, since GitHub cannot be asked: %s", user.name, error.why)
            return True
        except RefusedError as error:
            self.log.warning("%s may not stay: %s", user.name, error.why)
            return False
        return model
