"""Logging in with GitHub: who may come in, and who must leave.

oauthenticator's GitHubOAuthenticator takes a GitHub that does not answer for "not a member", and asks for membership
at the login only. Here the same question is asked again for as long as somebody is in, and an answer that did not
come decides nothing.
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
from . import emergency_link, membership, tokens
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


def _unavailable(code: int, answer: HTTPResponse | None) -> str:
    """Why an answer is none; nothing if it is one.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "it did not answer" if code == _TIMEOUT else f"it answered with {code}"
    headers, body = (answer.headers, answer.body or b"") if answer else ({}, b"")
    # A secondary limit may be told by nothing but the message.
    limited = headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in headers or b"rate limit" in body
    if code == HTTPStatus.TOO_MANY_REQUESTS or (code == HTTPStatus.FORBIDDEN and limited):
        return "its rate limit is used up"
    return ""


class GitHubMemberAuthenticator(GitHubOAuthenticator):
    """GitHub's accounts, as long as they are members; teams are groups, named `organization:team`."""

    groups_of_environments = Set(Unicode(), help="Teams whose members may use environments that others may not").tag(
        config=True
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._told: set[tuple[int, str]] = set()
        """Accounts and organizations, with the login, of which the log said that they are given nothing."""

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
            if why := _unavailable(error.code, error.response):
                raise GitHubUnavailableError(why) from None
            raise
        except OSError as error:
            raise GitHubUnavailableError(f"it cannot be reached: {error.strerror or error}") from None
        if isinstance(answer, HTTPResponse) and (why := _unavailable(answer.code, answer)):
            raise GitHubUnavailableError(why)
        return answer

    # --- who somebody is

    @cached_property
    def _identities(self) -> Identities:
        return Identities(self.parent.db)

    def user_info_to_username(self, user_info: Mapping[str, Any]) -> str:
        """Return the name that the account had at its first login.

        Raises:
            RefusedError: the name belongs to another account here.
        """
        try:
            # Mapped first (Authenticator.username_map), so that a name that it leads to is nobody else's either.
            return self._identities.username(user_info["id"], self.normalize_username(user_info["login"]))
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
        if self._identities.known(account["id"]) is None:
            self._end_sessions(model["name"])
        self._identities.remember(account["id"], model["name"], account["login"])
        return model

    def _end_sessions(self, username: str) -> None:
        """End what others may have of a user whose name an account gets: sessions and tokens of who had it before."""
        if user := orm.User.find(self.parent.db, username):
            user.cookie_id = orm.new_token()
            for token in tokens.of_people(user):
                self.parent.db.delete(token)
            self.parent.db.commit()

    # --- who may come in

    async def get_authenticated_user(self, handler: BaseHandler, data: Any) -> Any:
        """Let somebody in, and log why not.

        Raises:
            PageError: it is not possible; its page says why.
        """
        try:
            try:
                return await super().get_authenticated_user(handler, data)
            except HTTPClientError as error:
                # Such as an account that was asked for less than is needed: its own browser carries the question.
                raise RefusedError(
                    "GitHub does not show the Hub what it needs to know of your account.",
                    why=f"GitHub answered with {error.code} to what the Hub needs to know of an account",
                ) from None
        except PageError as error:
            self.log.warning("Nobody was let in: %s", error.why)
            raise

    def _counted(self, github_id: int, username: str, login: str) -> set[str]:
        """Return the names by which settings may mean an account.

        That is the user's name here, and the login of now unless another account has or had that name here: a known
        account may take a login that was given up, and gets nothing of what the settings give its owner.
        """
        login = login.lower()
        if login == username:
            return {username}
        if not (others := self._identities.others(github_id, login)):
            return {username, login}
        if (github_id, login) not in self._told:
            self._told.add((github_id, login))
            self.log.warning(
                "The GitHub account number %s, %s here, has the login %s, and is not given what the settings give"
                " that name: it is or was the name of the account number %s here",
                github_id,
                username,
                login,
                ", ".join(map(str, others)),
            )
        return {username}

    def names(self, username: str) -> set[str]:
        """Return the names by which settings may mean a user."""
        if known := self._identities.named(username):
            return self._counted(known.github_id, username, known.login)
        return {username}

    def _names(self, auth_model: Mapping[str, Any]) -> set[str]:
        account = auth_model["auth_state"][self.user_auth_state_key]
        return self._counted(account["id"], auth_model["name"], account["login"])

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Say of everybody whether he is an administrator: who is taken from the settings is none any more."""
        model: dict[str, Any] = await super().update_auth_model(auth_model)
        model["admin"] = bool(self._names(model) & self.admin_users)
        return model

    async def get_user_groups(self, auth_state: Mapping[str, Any]) -> set[str]:
        """Return the teams of those organizations that the settings name; others are none of the Hub's business."""
        ours = {name.partition(":")[0] for name in (*self.allowed_organizations, *self._teams)}
        teams: Iterable[Mapping[str, Any]] = auth_state.get("teams", [])
        found = set()
        for team in teams:
            name = team["organization"]["login"].lower()
            if name in ours and self._is_meant(name, team["organization"]["id"]):
                found.add(f"{name}:{team['slug']}")
        return found

    def _is_meant(self, organization: str, github_id: int) -> bool:
        """Return whether an organization is the one that settings mean: an organization's login changes hands, too."""
        first = self._identities.organization(organization, github_id)
        if first != github_id and (github_id, organization) not in self._told:
            self._told.add((github_id, organization))
            self.log.warning(
                "The organization %s is number %s now, and was number %s here: its members have no rights by it."
                " If it is the one that is meant, in the Hub's container:"
                " python -m jupyterhub_ansible identity forget %s:",
                organization,
                github_id,
                first,
                organization,
            )
        return first == github_id

    async def _is_member(self, organization: str, login: str, token: Mapping[str, str]) -> bool:
        """Return whether an account is a member of the organization that settings mean."""
        access_token, kind = token["access_token"], token["token_type"]
        if not await self._check_membership_allowed_organizations(organization, login, access_token, kind):
            return False
        # Not from the list of the user's organizations, which leaves out those that restrict apps: what an organization
        # shows to everybody is enough.
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
            # The membership has just been confirmed, so this says nothing against the account.
            raise GitHubUnavailableError(
                f"it answered with {error.code} when asked for the organization {organization}"
            ) from None
        return self._is_meant(organization, found["id"])

    def check_blocked_users(self, username: str, auth_model: Mapping[str, Any]) -> bool:
        """Return whether somebody is not blocked.

        Raises:
            RefusedError: with a page that says so.
        """
        account = auth_model["auth_state"][self.user_auth_state_key]
        names = {auth_model["name"], account["login"].lower()}
        # Whoever has the login of somebody who is blocked is blocked, too, and another login is no way out.
        if self.blocked_users and (names | self._identities.names(account["id"])) & self.blocked_users:
            raise RefusedError(
                "Your account is blocked here.",
                why=f"the account number {account['id']}, {account['login']}, {auth_model['name']} here, is blocked",
            )
        return True

    def is_blocked(self, username: str) -> bool:
        """Return whether a user is blocked, by what is known without asking."""
        if not self.blocked_users:
            return False
        known = self._identities.named(username)
        return bool(({username} | (self._identities.names(known.github_id) if known else set())) & self.blocked_users)

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
            if await self._is_member(organization, account, token):
                return True
        if account.lower() in self.allowed_users | self.admin_users:
            raise RefusedError(
                f"The login {account} is or was another GitHub account's here, so it does not let you in."
            )
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
        return [*super().get_handlers(app), (emergency_link.PATH, emergency_link.BreakGlassHandler)]

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
        if user.name == emergency_link.USER:
            return emergency_link.lasts(await user.get_auth_state())
        if self.is_blocked(user.name):
            return False
        try:
            model = await super().refresh_user(user, handler, **kwargs)
            if isinstance(model, dict):
                account = model["auth_state"][self.user_auth_state_key]
                if model["name"] != user.name:
                    # The name was given free (identity forget).
                    raise RefusedError(
                        "This session is another user's.",
                        why=f"the account number {account['id']}, {account['login']}, is not {user.name} here",
                    )
                self.check_blocked_users(user.name, model)
                await self.check_allowed(user.name, model)
                self._identities.saw(account["id"], account["login"])
        except GitHubUnavailableError as error:
            self.log.warning("%s stays in, since GitHub cannot be asked: %s", user.name, error.why)
            return True
        except RefusedError as error:
            self.log.warning("%s may not stay: %s", user.name, error.why)
            return False
        return model
