"""The state of GitHub, and everything that can happen to it."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from github.accounts import LOGIN, Membership, Organization, Team, User
from github.oauth import (
    CODE_VALID_S,
    TOKENS_OF_A_KIND,
    Code,
    Grant,
    OAuthApp,
    Request,
    Session,
    Token,
    proves,
    wrong_client,
    wrong_code,
    wrong_redirect,
)
from github.scopes import normalized
from github.trouble import Outage, RateLimit, SecondaryLimit


@dataclass(frozen=True)
class Asked:
    """A request that was answered; without query, headers and body, which may contain secrets."""

    method: str
    path: str
    status: int
    """499: the client did not wait for the answer."""

    login: str | None
    """The login of the token's owner at that time."""


def _drop(table: MutableMapping[Any, Any], user: User) -> None:
    """Remove what belongs to a user, in place: a server in another thread may add something meanwhile."""
    for key in [key for key, value in tuple(table.items()) if value.user_id == user.id]:
        del table[key]


@dataclass
class GitHub:
    """The whole state; logins are case-insensitive.

    Raises:
        LookupError: an account, a team or an app does not exist.
        ValueError: the arguments are invalid.
    """

    users: dict[int, User] = field(default_factory=dict)
    organizations: dict[int, Organization] = field(default_factory=dict)
    apps: dict[str, OAuthApp] = field(default_factory=dict)
    grants: dict[tuple[int, str], Grant] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict, repr=False)
    tokens: dict[str, Token] = field(default_factory=dict, repr=False)
    sessions: dict[str, Session] = field(default_factory=dict, repr=False)
    rate_limit: RateLimit | None = field(default_factory=RateLimit)
    """None: no limit, as on a GitHub Enterprise Server by default."""

    secondary_limit: SecondaryLimit | None = None
    outage: Outage | None = None
    requests: list[Asked] = field(default_factory=list)
    clock: Callable[[], float] = time.time
    ahead_s: float = 0
    _numbers: set[int] = field(default_factory=set, repr=False)

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return self.clock() + self.ahead_s

    def advance(self, seconds: float) -> None:
        """Let time pass: codes expire, and rate limits are reset."""
        self.ahead_s += seconds

    # Accounts

    def _number(self, what: str) -> int:
        """Return a new number, which is never used again.

        It depends on the name, so that a Hub finds the same accounts again when the stand-in is another one.
        """
        number = crc32(what.lower().encode()) % 2**31
        while number in self._numbers:
            number += 1
        self._numbers.add(number)
        return number

    def user(self, login: str) -> User:
        """Find a user."""
        for user in tuple(self.users.values()):
            if user.login.lower() == login.lower():
                return user
        raise LookupError(f"there is no user {login}")

    def organization(self, login: str) -> Organization:
        """Find an organization."""
        for organization in tuple(self.organizations.values()):
            if organization.login.lower() == login.lower():
                return organization
        raise LookupError(f"there is no organization {login}")

    def team(self, organization: str, slug: str) -> Team:
        """Find a team."""
        team = self.organization(organization).teams.get(slug.lower())
        if team is None:
            raise LookupError(f"there is no team {organization}:{slug}")
        return team

    def _free(self, login: str, but: int | None = None) -> str:
        if not LOGIN.fullmatch(login):
            raise ValueError(f"{login!r} cannot be a login")
        accounts: list[User | Organization] = [*self.users.values(), *self.organizations.values()]
        for account in accounts:
            if account.id != but and account.login.lower() == login.lower():
                raise ValueError(f"{login} is taken")
        return login

    def add_user(
        self,
        login: str,
        name: str | None = None,
        email: str = "",
        email_public: bool = False,
        number: int | None = None,
    ) -> User:
        """Register a user with a new id."""
        number = number or self._number(f"user {login}")
        email = email or f"{number}+{login}@users.noreply.example.org"
        user = self.users[number] = User(number, self._free(login), name, email, email_public)
        return user

    def rename_user(self, login: str, to: str) -> User:
        """Change a user's login; anybody may then register the old one."""
        user = self.user(login)
        user.login = self._free(to, but=user.id)
        return user

    def delete_user(self, login: str) -> None:
        """Delete an account with everything that belongs to it; anybody may register its login, with another id."""
        user = self.user(login)
        for organization in self.organizations.values():
            self._leave(organization, user)
        self.revoke_grants(login)
        _drop(self.sessions, user)
        del self.users[user.id]

    def add_organization(self, login: str, restricts_apps: bool = False, number: int | None = None) -> Organization:
        """Create an organization."""
        number = number or self._number(f"organization {login}")
        organization = Organization(number, self._free(login), restricts_apps=restricts_apps)
        self.organizations[organization.id] = organization
        return organization

    def set_member(self, organization: str, login: str, public: bool = False, pending: bool = False) -> None:
        """Make a user a member, or only invite them; or change their membership."""
        self.organization(organization).members[self.user(login).id] = Membership(public, pending)

    def remove_member(self, organization: str, login: str) -> None:
        """Remove a user from an organization and from its teams."""
        self._leave(self.organization(organization), self.user(login))

    def _leave(self, organization: Organization, user: User) -> None:
        organization.members.pop(user.id, None)
        for team in organization.teams.values():
            team.members.discard(user.id)

    def add_team(self, organization: str, name: str) -> Team:
        """Create a team of an organization."""
        teams, team = self.organization(organization).teams, Team(self._number(f"team {organization} {name}"), name)
        if team.slug in teams:
            raise ValueError(f"{organization} has a team {team.slug}")
        teams[team.slug] = team
        return team

    def add_team_member(self, organization: str, slug: str, login: str) -> None:
        """Add a user to a team; a user who is not in the organization is invited."""
        user = self.user(login)
        self.team(organization, slug).members.add(user.id)
        self.organization(organization).members.setdefault(user.id, Membership(pending=True))

    def remove_team_member(self, organization: str, slug: str, login: str) -> None:
        """Remove a user from a team, but not from its organization."""
        self.team(organization, slug).members.discard(self.user(login).id)

    def restrict_apps(self, organization: str, restricts: bool = True) -> None:
        """Show an organization to approved apps only, or to all."""
        self.organization(organization).restricts_apps = restricts

    def approve_app(self, organization: str, client_id: str) -> None:
        """Let an app see an organization that restricts them."""
        self.organization(organization).approved_apps.add(self.app(client_id).client_id)

    # OAuth

    def app(self, client_id: str) -> OAuthApp:
        """Find an app."""
        if client_id not in self.apps:
            raise LookupError("there is no app of this client_id")
        return self.apps[client_id]

    def register_app(self, client_id: str, client_secret: str, callback_url: str, name: str = "JupyterHub") -> None:
        """Register an app, or replace its registration."""
        self.apps[client_id] = OAuthApp(client_id, client_secret, callback_url, name)

    def change_client_secret(self, client_id: str, client_secret: str) -> None:
        """Change an app's secret; the old one is invalid at once, tokens stay valid."""
        self.app(client_id).client_secret = client_secret

    def sign_in(self, user: User) -> str:
        """Start a browser's session, and return the value of its cookie."""
        key = secrets.token_urlsafe(24)
        self.sessions[key] = Session(user.id, secrets.token_urlsafe(24))
        return key

    def grant(self, user: User, request: Request) -> None:
        """Authorize an app, in addition to what it was granted before."""
        granted = self.grants.get((user.id, request.client_id))
        scopes = normalized(request.scopes | (granted.scopes if granted else frozenset()))
        self.grants[user.id, request.client_id] = Grant(user.id, request.client_id, scopes)

    def issue_code(self, user: User, request: Request) -> str:
        """Issue a code for an authorized app; without requested scopes, it has all granted ones."""
        scopes = request.scopes or self.grants[user.id, request.client_id].scopes
        code = secrets.token_hex(10)
        self.codes[code] = Code(user.id, request, scopes, self.now() + CODE_VALID_S)
        return code

    def issue_token(self, login: str, client_id: str, scopes: str = "") -> str:
        """Issue a token as if its owner had just authorized the app."""
        user, request = self.user(login), Request(self.app(client_id).client_id, None, normalized(scopes))
        self.grant(user, request)
        return self._new_token(Token(user.id, client_id, request.scopes))

    def _new_token(self, token: Token) -> str:
        value = f"gho_{secrets.token_hex(18)}"
        self.tokens[value] = token
        for oldest in [key for key, other in self.tokens.items() if other == token][:-TOKENS_OF_A_KIND]:
            del self.tokens[oldest]
        return value

    def exchange(
        self, client_id: str, client_secret: str, code: str, redirect_uri: str | None, verifier: str | None
    ) -> str:
        """Exchange a code for a token; a code works only once.

        Raises:
            OAuthError: one of the arguments is wrong.
        """
        app = self.apps.get(client_id)
        if app is None or not hmac.compare_digest(app.client_secret.encode(), client_secret.encode()):
            raise wrong_client()
        issued = self.codes.get(code)
        if issued is None or issued.request.client_id != client_id:
            raise wrong_code()
        del self.codes[code]
        if self.now() >= issued.expires_at:
            raise wrong_code()
        if redirect_uri is not None and redirect_uri != (issued.request.redirect_uri or app.callback_url):
            raise wrong_redirect(exchanging=True)
        if not proves(verifier, issued.request.challenge):
            raise wrong_code()
        return self._new_token(Token(issued.user_id, client_id, issued.scopes))

    def revoke_tokens(self, login: str) -> None:
        """Revoke a user's tokens; their authorization of apps stays."""
        _drop(self.tokens, self.user(login))

    def revoke_grants(self, login: str) -> None:
        """Revoke a user's authorizations of all apps, with their tokens and codes."""
        for theirs in (self.grants, self.codes, self.tokens):
            _drop(theirs, self.user(login))

    # Trouble

    def break_down(self, status: int | None = 503, delay_s: float = 0, below: str = "/") -> None:
        """Answer with an error, or late (`status` None), until `recover`."""
        self.outage = Outage(status, delay_s, below)

    def recover(self) -> None:
        """End an outage and a secondary limit."""
        self.outage = self.secondary_limit = None

    def limit_rate(self, limit: int | None, window_s: int = 3600) -> None:
        """Set another rate limit, and reset all counts; None: no limit."""
        self.rate_limit = None if limit is None else RateLimit(limit, window_s)

    def limit_secondarily(self, status: int = 403, retry_after_s: int | None = 60) -> None:
        """Refuse all API requests because of a secondary limit, until `recover`."""
        self.secondary_limit = SecondaryLimit(status, retry_after_s)

    # Requests

    def count(self, path: str, method: str = "GET") -> int:
        """Count the requests of a path."""
        return sum(1 for asked in tuple(self.requests) if (asked.method, asked.path) == (method, path))

    def forget_requests(self) -> None:
        """Reset the count."""
        self.requests.clear()
