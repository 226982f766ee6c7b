"""The REST API, below `/` as on api.github.com and below `/api/v3` as on a GitHub Enterprise Server.

All of it requires a token: GitHub shows public memberships to anybody, but JupyterHub always sends one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from github.accounts import Organization, Team, User, node_id
from github.keys import GITHUB, LOGIN
from github.oauth import Token
from github.scopes import EMAILS, ORGANIZATIONS, TEAMS, covered
from github.state import GitHub
from github.trouble import Window

DOCS = "https://docs.github.com/rest"
PREFIXES = ("", "/api/v3")
RESTRICTED = (
    "Although you appear to have the correct authorization credentials, the `{}` organization has enabled OAuth App "
    "access restrictions, meaning that data access to third-parties is limited. For more information on these "
    "restrictions, including how to enable this app, visit "
    "https://docs.github.com/articles/restricting-access-to-your-organization-s-data/"
)
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


@dataclass
class APIError(Exception):
    """An error answer with a message."""

    status: int
    message: str
    headers: dict[str, str] | None = None
    page: str = ""

    def answer(self) -> web.Response:
        body = {"message": self.message, "documentation_url": f"{DOCS}{self.page}", "status": str(self.status)}
        return web.json_response(body, status=self.status, headers=self.headers)


def not_found(message: str = "Not Found") -> APIError:
    return APIError(404, message)


@dataclass(frozen=True)
class Call:
    """A request with a valid token."""

    github: GitHub
    request: web.Request
    user: User
    token: Token
    base: str
    """The prefix of all URLs of the API, for this client."""

    def may(self, *scopes: str) -> bool:
        """Whether the token has one of the scopes, or one that includes it."""
        return any(covered({scope}, self.token.scopes) for scope in scopes)

    def organization(self) -> Organization:
        """Return the organization in the path, if the app has access to it."""
        organization = self.any_organization()
        if not organization.admits(self.token.client_id):
            raise APIError(403, RESTRICTED.format(organization.login))
        return organization

    def any_organization(self) -> Organization:
        """Return the organization in the path."""
        path = self.request.match_info
        try:
            if "id" in path:
                return self.github.organizations[int(path["id"])]
            return self.github.organization(path["org"])
        except LookupError:
            raise not_found() from None

    def member(self) -> User:
        """Return the user in the path."""
        try:
            return self.github.user(self.request.match_info["login"])
        except LookupError:
            raise not_found() from None


Handler = Callable[[Call], web.Response]


def _user(call: Call) -> web.Response:
    user, api = call.user, f"{call.base}/users/{call.user.login}"
    return web.json_response(
        {
            "login": user.login,
            "id": user.id,
            "node_id": node_id("User", user.id),
            "avatar_url": f"{call.request.url.origin()}/avatars/u/{user.id}?v=4",
            "gravatar_id": "",
            "url": api,
            "html_url": f"{call.request.url.origin()}/{user.login}",
            "organizations_url": f"{api}/orgs",
            "type": "User",
            "user_view_type": "public",
            "site_admin": False,
            "name": user.name,
            "company": None,
            "blog": "",
            "location": None,
            "email": user.email if user.email_public else None,
            "hireable": None,
            "bio": None,
            "created_at": "2020-01-01T00:00:00Z",
            "updated_at": "2020-01-01T00:00:00Z",
        }
    )


def _emails(call: Call) -> web.Response:
    if not call.may(*EMAILS):
        raise not_found()
    visibility = "public" if call.user.email_public else "private"
    return web.json_response([{"email": call.user.email, "primary": True, "verified": True, "visibility": visibility}])


def _organization(call: Call, organization: Organization) -> dict[str, Any]:
    return {
        "login": organization.login,
        "id": organization.id,
        "node_id": node_id("Organization", organization.id),
        "url": f"{call.base}/orgs/{organization.login}",
        "avatar_url": f"{call.request.url.origin()}/avatars/u/{organization.id}?v=4",
        "description": None,
    }


def _seen(call: Call) -> list[Organization]:
    """Return the user's organizations to which the app has access."""
    organizations = sorted(call.github.organizations.values(), key=lambda organization: organization.id)
    return [one for one in organizations if one.has(call.user) and one.admits(call.token.client_id)]


def _organizations(call: Call) -> web.Response:
    if not call.may(*ORGANIZATIONS):
        raise APIError(403, "You need at least read:org scope or user scope to list your organizations.")
    return _paged(call, [_organization(call, organization) for organization in _seen(call)])


def _public_organization(call: Call) -> web.Response:
    """Answer with the public data of an organization, whatever access the app has."""
    return web.json_response(_organization(call, call.any_organization()))


def _team(call: Call, organization: Organization, team: Team) -> dict[str, Any]:
    return {
        "name": team.name,
        "id": team.id,
        "node_id": node_id("Team", team.id),
        "slug": team.slug,
        "description": "",
        "privacy": "closed",
        "notification_setting": "notifications_enabled",
        "permission": "pull",
        "url": f"{call.base}/organizations/{organization.id}/team/{team.id}",
        "html_url": f"{call.request.url.origin()}/orgs/{organization.login}/teams/{team.slug}",
        "members_url": f"{call.base}/organizations/{organization.id}/team/{team.id}/members{{/member}}",
        "parent": None,
        "members_count": len(team.members),
        "organization": _organization(call, organization),
    }


def _teams(call: Call) -> web.Response:
    if not call.may(*ORGANIZATIONS):
        raise APIError(403, "Must have admin rights to Repository.")
    teams = [
        _team(call, organization, team)
        for organization in _seen(call)
        for team in tuple(organization.teams.values())
        if call.user.id in team.members
    ]
    return _paged(call, sorted(teams, key=lambda team: str(team["slug"])))


def _number(call: Call, name: str, default: int, most: int) -> int:
    given = call.request.query.get(name, "")
    return min(int(given), most) if given.isdecimal() and int(given) else default


def _paged(call: Call, items: list[dict[str, Any]]) -> web.Response:
    """Answer with one page of a list, and links to the others."""
    size, page = _number(call, "per_page", 30, 100), _number(call, "page", 1, 10**9)
    last = max(1, -(-len(items) // size))
    to = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    wanted = (["prev", "first"] if page > 1 else []) + (["next", "last"] if page < last else [])
    address = call.request.url.with_query(None)
    links = ", ".join(f'<{address}?per_page={size}&page={to[name]}>; rel="{name}"' for name in wanted)
    headers = {"Link": links} if links else {}
    return web.json_response(items[(page - 1) * size : page * size], headers=headers)


def _member(call: Call) -> web.Response:
    organization = call.organization()
    if not organization.has(call.user) or not call.may(*ORGANIZATIONS):
        # For an outsider, or an app that sees no more than an outsider.
        login = call.request.match_info["login"]
        address = f"{call.base}/organizations/{organization.id}/public_members/{login}"
        return web.Response(status=302, headers={"Location": address})
    if organization.has(call.member()):
        return web.Response(status=204)
    raise not_found("User does not exist or is not a member of the organization")


def _public_member(call: Call) -> web.Response:
    if call.organization().has(call.member(), publicly=True):
        return web.Response(status=204)
    raise not_found("User does not exist or is not a public member of the organization")


def _team_of_path(call: Call) -> tuple[Organization, Team]:
    """Return the team in the path; 404 for outsiders, and apps without the scope."""
    organization = call.organization()
    team = organization.teams.get(call.request.match_info["slug"].lower())
    if team is None or not organization.has(call.user) or not call.may(*TEAMS):
        raise not_found()
    return organization, team


def _team_member(call: Call) -> web.Response:
    organization, team = _team_of_path(call)
    user = call.member()
    if user.id in team.members and organization.has(user):
        return web.Response(status=204)
    raise not_found()


def _team_membership(call: Call) -> web.Response:
    organization, team = _team_of_path(call)
    user = call.member()
    if user.id not in team.members:
        raise not_found()
    address = f"{call.base}/organizations/{organization.id}/team/{team.id}/memberships/{user.login}"
    state = "active" if organization.has(user) else "pending"
    return web.json_response({"url": address, "role": "member", "state": state})


def _rate_limit(call: Call) -> web.Response:
    if call.github.rate_limit is None:
        raise not_found("Rate limiting is not enabled.")
    limit, window = call.github.rate_limit.limit, call.github.rate_limit.window(call.user.id, call.github.now())
    used = min(window.used, limit)
    core = {"limit": limit, "used": used, "remaining": limit - used, "reset": window.resets_at}
    return web.json_response({"resources": {"core": core}, "rate": core})


def _authenticated(request: web.Request, base: str) -> Call:
    github = request.app[GITHUB]
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if not value:
        raise APIError(401, "Requires authentication")
    token = github.tokens.get(value) if kind.lower() in ("token", "bearer") else None
    if token is None:
        raise APIError(401, "Bad credentials")
    user = github.users[token.user_id]
    request[LOGIN] = user.login
    return Call(github, request, user, token, base)


def _window(call: Call, counted: bool) -> Window | None:
    """Return the window in which this request counts, if no limit refuses it."""
    github, limit = call.github, call.github.rate_limit
    if secondary := github.secondary_limit:
        after = {} if secondary.retry_after_s is None else {"Retry-After": str(secondary.retry_after_s)}
        page = "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
        raise APIError(secondary.status, SECONDARY, after, page)
    if limit is None:
        return None
    window = limit.window(call.user.id, github.now())
    if counted and window.used >= limit.limit:
        page = "/overview/rate-limits-for-the-rest-api"
        raise APIError(403, f"API rate limit exceeded for user ID {call.user.id}.", page=page)
    return window


def _conditional(call: Call, answer: web.Response) -> web.Response:
    """Answer 304 to a client that already has this answer."""
    if answer.status != 200:
        return answer
    said = json.dumps([call.user.id, answer.text, answer.headers.get("Link")])
    etag = f'W/"{hashlib.sha256(said.encode()).hexdigest()}"'
    known = call.request.headers.get("If-None-Match", "")
    if etag in (one.strip() for one in known.split(",")):
        answer = web.Response(status=304)
    answer.headers.update({"ETag": etag, "Cache-Control": "private, max-age=60, s-maxage=60"})
    return answer


def _answered(handler: Handler, request: web.Request, prefix: str, scopes: frozenset[str]) -> web.Response:
    try:
        call = _authenticated(request, f"{request.url.origin()}{prefix}")
    except APIError as error:
        return error.answer()
    window = None
    counted = handler is not _rate_limit
    try:
        window = _window(call, counted)
        answer = _conditional(call, handler(call))
    except APIError as error:
        answer = error.answer()
    # A conditional request without changes does not count.
    if window and counted and answer.status != 304:
        window.used += 1
    answer.headers.update(_limits(call))
    answer.headers["X-OAuth-Scopes"] = ", ".join(sorted(call.token.scopes))
    answer.headers["X-Accepted-OAuth-Scopes"] = ", ".join(sorted(scopes))
    answer.headers["Vary"] = "Accept, Authorization, Cookie"
    return answer


def _limits(call: Call) -> dict[str, str]:
    if (limit := call.github.rate_limit) is None:
        return {}
    window = limit.window(call.user.id, call.github.now())
    said = {
        "Limit": limit.limit,
        "Remaining": max(0, limit.limit - window.used),
        "Reset": window.resets_at,
        "Used": min(limit.limit, window.used),
        "Resource": "core",
    }
    return {f"X-RateLimit-{name}": str(value) for name, value in said.items()}


def _route(path: str, handler: Handler, prefix: str, scopes: frozenset[str]) -> web.RouteDef:
    async def handle(request: web.Request) -> web.Response:
        return _answered(handler, request, prefix, scopes)

    return web.get(prefix + path, handle)


NO_SCOPE = frozenset[str]()
PATHS: list[tuple[str, Handler, frozenset[str]]] = [
    ("/user", _user, NO_SCOPE),
    ("/user/emails", _emails, EMAILS),
    ("/user/orgs", _organizations, ORGANIZATIONS),
    ("/user/teams", _teams, ORGANIZATIONS),
    ("/orgs/{org}", _public_organization, NO_SCOPE),
    ("/orgs/{org}/members/{login}", _member, ORGANIZATIONS),
    ("/orgs/{org}/public_members/{login}", _public_member, NO_SCOPE),
    (r"/organizations/{id:\d+}/public_members/{login}", _public_member, NO_SCOPE),
    ("/orgs/{org}/teams/{slug}/members/{login}", _team_member, TEAMS),
    ("/orgs/{org}/teams/{slug}/memberships/{login}", _team_membership, TEAMS),
    ("/rate_limit", _rate_limit, NO_SCOPE),
]
ROUTES = [_route(path, handler, prefix, scopes) for prefix in PREFIXES for path, handler, scopes in PATHS]
