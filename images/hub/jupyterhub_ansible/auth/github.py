"""Logging in with GitHub: who is allowed, and who must leave.

oauthenticator's GitHubOAuthenticator treats an unreachable GitHub as "not a member", and checks membership only at
login. Here membership is checked again while users are logged in, and a missing answer changes nothing.
"""
# JupyterHub and oauthenticator have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Iterable, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers import BaseHandler
from oauthenticator.github import GitHubOAuthenticator
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from traitlets import Set, Unicode

from ..web.errors import PageError
from . import emergency_link, membership_watch, tokens
from .identity import Identities, NameTakenError

_TIMEOUT = 599
"""tornado's status code if there is no answer at all."""


class GitHubUnavailableError(PageError):
    """GitHub does not answer, or refuses because of a rate limit."""

    def __init__(self, why: str) -> None:
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "GitHub does not answer, so that nobody can log in just now. Please try again in a few minutes."
            " Users who are logged in can continue to work.",
            why=why,
        )


class RefusedError(PageError):
    """A user may not log in, or must leave."""

    def __init__(self, message: str, *, why: str = "") -> None:
        super().__init__(HTTPStatus.FORBIDDEN, f"{message} Please ask the administrator.", why=why or message)


def _unavailable(code: int, answer: HTTPResponse | None) -> str:
    """Return why an answer says nothing about the account; "" if it does.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "it did not answer" if code == _TIMEOUT else f"it answered with {code}"
    headers, body = (answer.headers, answer.body or b"") if answer else ({}, b"")
    # A secondary limit may show only in the message.
    limited = headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers or b"rate limit" in body
    if code == HTTPStatus.TOO_MANY_REQUESTS or (code == HTTPStatus.FORBIDDEN and limited):
        return "its rate limit is used up"
    return ""


class GitHubMemberAuthenticator(GitHubOAuthenticator):
    """Allows GitHub accounts as long as they are members; teams become groups named `organization:team`."""

    groups_with_access = Set(Unicode(), help="Teams whose members may use what others may not").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._warned: set[tuple[int, str]] = set()
        """Accounts and organizations, with their logins, that the log has warned about."""

    def _scope_default(self) -> list[str]:
        # Without it, GitHub shows only public members and no teams.
        return ["read:org"] if self.allowed_organizations or self.manage_groups else []

    def _manage_groups_default(self) -> bool:
        return bool(self._teams or self.allowed_organizations)

    @property
    def _teams(self) -> set[str]:
        """The teams that settings name."""
        return {*self.allowed_groups, *self.admin_groups, *self.groups_with_access}

    def _populate_teams_in_auth_state_default(self) -> bool:
        return bool(self.manage_groups)

    # --- GitHub's answers

    async def fetch(self, req: HTTPRequest, label: str = "fetching", parse_json: bool = True, **kwargs: Any) -> Any:
        """Call GitHub, and distinguish a missing answer from a negative one.

        Raises:
            GitHubUnavailableError: GitHub does not answer, or is rate-limiting.
            HTTPClientError: GitHub answered with an error.
        """
        try:
            answer = await super().fetch(req, label, parse_json, **kwargs)
        except HTTPClientError as error:
            if why := _unavailable(error.code, error.response):
                raise GitHubUnavailableError(why) from None
            raise
        except OSError as error:
            raise GitHubUnavailableError(f"it cannot be reached: {error.strerror or error}") from None
        if isinstance(answer, HTTPResponse) and (why := _unavailable(answer.code, answer)):
            raise GitHubUnavailableError(why)
        return answer

    # --- identity

    @cached_property
    def _identities(self) -> Identities:
        return Identities(self.parent.db)

    def user_info_to_username(self, user_info: Mapping[str, Any]) -> str:
        """Return the name that the account got at its first login.

        Raises:
            RefusedError: the name belongs to another account here.
        """
        try:
            # Mapped first (Authenticator.username_map), so that the mapped name is protected, too.
            return self._identities.username(user_info["id"], self.normalize_username(user_info["login"]))
        except NameTakenError as taken:
            raise RefusedError(
                f"The name {taken.username} belongs to another GitHub account here: somebody had it before you."
                " You do not get that account's files and rights.",
                why=f"{taken}, and not of number {user_info['id']}, {user_info['login']}",
            ) from None

    async def run_post_auth_hook(self, handler: BaseHandler, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Record the account, now that it is certain that it is allowed."""
        model: dict[str, Any] = await super().run_post_auth_hook(handler, auth_model)
        account = model["auth_state"][self.user_auth_state_key]
        if self._identities.by_id(account["id"]) is None:
            self._end_sessions(model["name"])
        self._identities.remember(account["id"], model["name"], account["login"])
        return model

    def _end_sessions(self, username: str) -> None:
        """Revoke sessions, tokens and shares of a username's previous owner."""
        if user := orm.User.find(self.parent.db, username):
            tokens.disown(self.parent.db, user)
            self.parent.db.commit()

    # --- who is allowed

    async def get_authenticated_user(self, handler: BaseHandler, data: Any) -> Any:
        """Log a user in, or log why not.

        Raises:
            PageError: the user is refused; the page says why.
        """
        try:
            try:
                return await super().get_authenticated_user(handler, data)
            except HTTPClientError as error:
                # For example because the browser's user removed scopes from the authorization URL.
                raise RefusedError(
                    "GitHub does not let the Hub read what it needs to know about your account.",
                    why=f"GitHub answered with {error.code} when asked about an account",
                ) from None
        except PageError as error:
            self.log.warning("Login refused: %s", error.why)
            raise

    def _matching_names(self, github_id: int, username: str, login: str) -> set[str]:
        """Return the names by which settings may refer to an account.

        These are the username here, and the current login, unless another account has or had that name here: an account
        that takes over an abandoned login must not get the rights that settings give to the login's previous owner.
        """
        login = login.lower()
        if login == username:
            return {username}
        if not (others := self._identities.other_holders(github_id, login)):
            return {username, login}
        if (github_id, login) not in self._warned:
            self._warned.add((github_id, login))
            self.log.warning(
                "The GitHub account number %s, %s here, has the login %s, but does not get the rights that settings"
                " give to that name, which is or was that of account number %s here",
                github_id,
                username,
                login,
                ", ".join(map(str, others)),
            )
        return {username}

    def names(self, username: str) -> set[str]:
        """Return the names by which settings may refer to a user."""
        if known := self._identities.by_username(username):
            return self._matching_names(known.github_id, username, known.login)
        return {username}

    def _names(self, auth_model: Mapping[str, Any]) -> set[str]:
        account = auth_model["auth_state"][self.user_auth_state_key]
        return self._matching_names(account["id"], auth_model["name"], account["login"])

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Set `admin` explicitly, so that users removed from the settings lose it."""
        model: dict[str, Any] = await super().update_auth_model(auth_model)
        model["admin"] = bool(self._names(model) & self.admin_users)
        return model

    async def get_user_groups(self, auth_state: Mapping[str, Any]) -> set[str]:
        """Return the teams of the organizations that settings name; the Hub ignores all others."""
        ours = {name.partition(":")[0] for name in (*self.allowed_organizations, *self._teams)}
        teams: Iterable[Mapping[str, Any]] = auth_state.get("teams", [])
        found = set()
        for team in teams:
            name = team["organization"]["login"].lower()
            if name in ours and self._is_known_organization(name, team["organization"]["id"]):
                found.add(f"{name}:{team['slug']}")
        return found

    def _is_known_organization(self, organization: str, github_id: int) -> bool:
        """Return whether an organization is the one first seen by this name: its login may change hands, too."""
        first = self._identities.organization(organization, github_id)
        if first != github_id and (github_id, organization) not in self._warned:
            self._warned.add((github_id, organization))
            self.log.warning(
                "The organization %s is number %s now, and was number %s here: its members get no rights from it."
                " If this is the right one, run in the Hub's container:"
                " python -m jupyterhub_ansible identity forget %s:",
                organization,
                github_id,
                first,
                organization,
            )
        return first == github_id

    async def _is_member(self, organization: str, login: str, token: Mapping[str, str]) -> bool:
        """Return whether an account is a member of the organization that settings name."""
        access_token, kind = token["access_token"], token["token_type"]
        if not await self._check_membership_allowed_organizations(organization, login, access_token, kind):
            return False
        # Not from the user's list of organizations, which omits those that restrict apps.  The public data suffice.
        try:
            found = await self.httpfetch(
                f"{self.github_api}/orgs/{organization}",
                "fetching an organization",
                headers=self.build_userdata_request_headers(access_token, kind),
                validate_cert=self.validate_server_cert,
            )
        except HTTPClientError as error:
            if error.code == HTTPStatus.UNAUTHORIZED:
                return False
            # The membership was just confirmed, so this does not count against the account.
            raise GitHubUnavailableError(
                f"it answered with {error.code} when asked for the organization {organization}"
            ) from None
        return self._is_known_organization(organization, found["id"])

    def check_blocked_users(self, username: str, auth_model: Mapping[str, Any]) -> bool:
        """Return True if an account is not blocked.

        Raises:
            RefusedError: it is.
        """
        account = auth_model["auth_state"][self.user_auth_state_key]
        names = {auth_model["name"], account["login"].lower()}
        # By all names that the account ever had, so that a new login does not lift the block.
        if self.blocked_users and (names | self._identities.names(account["id"])) & self.blocked_users:
            raise RefusedError(
                "Your account is blocked here.",
                why=f"the account number {account['id']}, {account['login']}, {auth_model['name']} here, is blocked",
            )
        return True

    def is_blocked(self, username: str) -> bool:
        """Return whether a user is blocked, without asking GitHub."""
        if not self.blocked_users:
            return False
        known = self._identities.by_username(username)
        return bool(({username} | (self._identities.names(known.github_id) if known else set())) & self.blocked_users)

    async def check_allowed(self, username: str, auth_model: dict[str, Any]) -> bool:
        """Return True if an account may log in.

        Raises:
            RefusedError: it may not.
            GitHubUnavailableError: GitHub does not answer.
        """
        # Skips GitHubOAuthenticator's, which checks organizations by username instead of the current login.
        if await super(GitHubOAuthenticator, self).check_allowed(username, auth_model):
            return True
        if self._names(auth_model) & self.allowed_users:
            return True
        account = auth_model["auth_state"][self.user_auth_state_key]["login"]
        token = auth_model["auth_state"]["token_response"]
        for organization in sorted(self.allowed_organizations):
            # By the current login; the username may be an earlier one.
            if await self._is_member(organization, account, token):
                return True
        if account.lower() in self.allowed_users | self.admin_users:
            raise RefusedError(
                f"The login {account} is or was that of another GitHub account here, so it does not let you in."
            )
        raise RefusedError(self._refusal(account))

    def _refusal(self, account: str) -> str:
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
        """Add our handlers, and start the membership watch; JupyterHub calls this once, on its event loop."""
        self._watch = asyncio.ensure_future(membership_watch.watch(app, self.auth_refresh_age))
        return [*super().get_handlers(app), (emergency_link.PATH, emergency_link.EmergencyLinkHandler)]

    async def may_stay(self, user: Any) -> bool:
        """Return whether a user's servers may run, and update the user's groups."""
        return await membership_watch.may_stay(self.parent, user)

    def has_required_scopes(self, auth_state: Mapping[str, Any]) -> bool:
        """Return whether the account granted the scopes that the current settings need.

        After the first team is added to the settings it has not; it must log in again, which does not count against it.
        """
        # GitHub separates scopes by commas, oauthenticator by spaces; other logins have none.
        given = ",".join(auth_state.get("scope", self.scope)).split(",")
        return set(self.scope) <= set(given)

    async def refresh_user(self, user: Any, handler: BaseHandler | None = None, **kwargs: Any) -> Any:
        """Check whether a user may stay logged in.

        Returns:
            The updated auth model; True if GitHub does not answer; False if the user must leave.
        """
        if user.name == emergency_link.USER:
            return emergency_link.lasts(await user.get_auth_state())
        if self.is_blocked(user.name):
            return False
        try:
            model = await super().refresh_user(user, handler, **kwargs)
            if isinstance(model, dict):
                account = model["auth_state"][self.user_auth_state_key]
                if model["name"] != user.name:
                    # The name was released (identity forget).
                    raise RefusedError(
                        "This session is another user's.",
                        why=f"the account number {account['id']}, {account['login']}, is not {user.name} here",
                    )
                self.check_blocked_users(user.name, model)
                await self.check_allowed(user.name, model)
                self._identities.update_login(account["id"], account["login"])
        except GitHubUnavailableError as error:
            self.log.warning("%s stays in, since GitHub cannot be asked: %s", user.name, error.why)
            return True
        except RefusedError as error:
            self.log.warning("%s may not stay: %s", user.name, error.why)
            return False
        return model
