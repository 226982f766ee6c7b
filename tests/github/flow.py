"""The web flow: signing in, authorizing an app, and exchanging a code for a token."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import BasicAuth, web

from github import oauth, pages
from github.accounts import User
from github.keys import GITHUB
from github.scopes import covered, normalized
from github.state import GitHub

SESSION = "user_session"
ASKED = ("client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method")


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def _back(address: str, answer: Mapping[str, str], state: str | None) -> NoReturn:
    url = urlsplit(address)
    query = [*parse_qsl(url.query), *answer.items(), *([("state", state)] if state is not None else [])]
    raise web.HTTPFound(urlunsplit(url._replace(query=urlencode(query))))


def _signed_in(github: GitHub, request: web.Request) -> tuple[User, oauth.Session] | None:
    session = github.sessions.get(request.cookies.get(SESSION, ""))
    return (github.users[session.user_id], session) if session else None


def _checked(github: GitHub, asked: Mapping[str, str]) -> tuple[oauth.OAuthApp, oauth.Request]:
    """Return the app and its request, or answer with what is wrong about it."""
    app = github.apps.get(asked.get("client_id", ""))
    if app is None:
        raise web.HTTPNotFound(text=pages.not_found(), content_type="text/html")
    redirect_uri, state = asked.get("redirect_uri"), asked.get("state")
    if redirect_uri is not None and not oauth.redirects_to(app.callback_url, redirect_uri):
        _back(app.callback_url, oauth.wrong_redirect().answer(), state)
    challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
    if (challenge or method) and not (method == "S256" and oauth.is_challenge(challenge or "")):
        _back(redirect_uri or app.callback_url, oauth.wrong_challenge().answer(), state)
    scopes = normalized(asked.get("scope", ""))
    return app, oauth.Request(app.client_id, redirect_uri, scopes, challenge)


async def show_authorize(request: web.Request) -> web.Response:
    """`GET /login/oauth/authorize`: ask the user to sign in and to authorize the app; or redirect back at once."""
    github, query = request.app[GITHUB], request.query
    app, asked = _checked(github, query)
    if not (signed_in := _signed_in(github, request)):
        hints = {"login": query.get("login", ""), "allow_signup": query.get("allow_signup", "true")}
        raise web.HTTPFound("/login?" + urlencode({**hints, "return_to": request.path_qs}))
    user, session = signed_in
    grant = github.grants.get((user.id, app.client_id))
    if grant and covered(asked.scopes, grant.scopes):
        _back(asked.redirect_uri or app.callback_url, {"code": github.issue_code(user, asked)}, query.get("state"))
    fields = {name: query[name] for name in ASKED if name in query}
    fields["authenticity_token"] = session.authenticity_token
    organizations = [organization for organization in tuple(github.organizations.values()) if organization.has(user)]
    return _html(pages.authorize(fields, app, user, sorted(asked.scopes), organizations))


async def authorize(request: web.Request) -> web.Response:
    """`POST /login/oauth/authorize`: the user has pressed a button on that page."""
    github = request.app[GITHUB]
    form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    app, asked = _checked(github, form)
    signed_in = _signed_in(github, request)
    token = form.get("authenticity_token", "")
    # The form does not come from the page that this browser was shown, but from another site.
    if not signed_in or not hmac.compare_digest(signed_in[1].authenticity_token.encode(), token.encode()):
        return _html(pages.problem("Oh no", "Your browser did something unexpected."), status=422)
    address, state = asked.redirect_uri or app.callback_url, form.get("state")
    if form.get("authorize") != "1":
        _back(address, oauth.access_denied().answer(), state)
    github.grant(signed_in[0], asked)
    _back(address, {"code": github.issue_code(signed_in[0], asked)}, state)


async def show_sign_in(request: web.Request) -> web.Response:
    """`GET /login`."""
    query = request.query
    fields = {"return_to": query.get("return_to", "/"), "allow_signup": query.get("allow_signup", "true")}
    return _html(pages.sign_in(fields, query.get("login", ""), fields["allow_signup"] != "false"))


async def sign_in(request: web.Request) -> web.Response:
    """`POST /session`."""
    github = request.app[GITHUB]
    form = await request.post()
    login, return_to, allow_signup = (str(form.get(name, "")) for name in ("login", "return_to", "allow_signup"))
    try:
        user = _named(github, login)
    except LookupError:
        fields = {"return_to": return_to, "allow_signup": allow_signup}
        return _html(pages.sign_in(fields, login, allow_signup != "false", failed=True))
    # Redirect within this site only.
    path = return_to if return_to.startswith("/") and not return_to.startswith(("//", "/\\")) else "/"
    answer = web.HTTPFound(path)
    answer.set_cookie(SESSION, github.sign_in(user), httponly=True, samesite="Lax", secure=request.secure)
    raise answer


def _named(github: GitHub, name: str) -> User:
    for user in tuple(github.users.values()):
        if user.email.lower() == name.lower():
            return user
    return github.user(name)


async def show_signup(request: web.Request) -> web.Response:
    """`GET /signup`: only tests create accounts."""
    return _html(pages.problem("Join GitHub", "Only the test creates accounts of this stand-in."))


def _credentials(request: web.Request, form: Mapping[str, str]) -> tuple[str, str]:
    """Return client id and secret, from the form or from Basic authentication."""
    header = request.headers.get("Authorization", "")
    if header.lower().startswith("basic "):
        try:
            basic = BasicAuth.decode(header, encoding="utf-8")
        except (ValueError, binascii.Error):
            return "", ""
        return basic.login, basic.password
    return form.get("client_id", ""), form.get("client_secret", "")


async def access_token(request: web.Request) -> web.Response:
    """`POST /login/oauth/access_token`: exchange a code for a token; errors have status 200, as on GitHub."""
    github = request.app[GITHUB]
    form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    try:
        if form.get("grant_type", "authorization_code") != "authorization_code":
            raise oauth.wrong_grant_type()
        code, redirect_uri, verifier = form.get("code", ""), form.get("redirect_uri"), form.get("code_verifier")
        value = github.exchange(*_credentials(request, form), code, redirect_uri, verifier)
    except oauth.OAuthError as error:
        answer = error.answer()
    else:
        scopes = ",".join(sorted(github.tokens[value].scopes))
        answer = {"access_token": value, "scope": scopes, "token_type": "bearer"}
    headers = {"Cache-Control": "no-store"}
    if "json" in request.headers.get("Accept", ""):
        return web.json_response(answer, headers=headers)
    return web.Response(text=urlencode(answer), content_type="application/x-www-form-urlencoded", headers=headers)


ROUTES = [
    web.get("/login/oauth/authorize", show_authorize),
    web.post("/login/oauth/authorize", authorize),
    web.post("/login/oauth/access_token", access_token),
    web.get("/login", show_sign_in),
    web.post("/session", sign_in),
    web.get("/signup", show_signup),
]
