"""The pages, kept as plain as possible: tests navigate by labels and roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from github.accounts import Organization, User
from github.oauth import OAuthApp
from github.scopes import DESCRIBED


def _page(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(title)} · GitHub stand-in</title></head>
<body><main>
<h1>{escape(title)}</h1>
{body}
</main></body>
</html>
"""


def _hidden(fields: Mapping[str, str]) -> str:
    return "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )


def sign_in(fields: Mapping[str, str], login: str, allow_signup: bool, failed: bool = False) -> str:
    """Ask for a login; there are no passwords here."""
    alert = '<p role="alert">Incorrect username or password.</p>' if failed else ""
    signup = '<p>New to GitHub? <a href="/signup">Create an account</a></p>' if allow_signup else ""
    body = f"""{alert}
<form method="post" action="/session">
{_hidden(fields)}
<label for="login_field">Username or email address</label>
<input id="login_field" name="login" value="{escape(login)}" autocomplete="username" required>
<button>Sign in</button>
</form>
{signup}"""
    return _page("Sign in to GitHub", body)


def _access(organization: Organization, app: OAuthApp) -> str:
    said = "access granted" if organization.admits(app.client_id) else "an owner must approve this application"
    return f"<li>{escape(organization.login)}: {said}</li>"


def authorize(
    fields: Mapping[str, str], app: OAuthApp, user: User, scopes: Iterable[str], organizations: Iterable[Organization]
) -> str:
    """Ask a user whether to grant an app what it requests."""
    wanted = "\n".join(f"<li>{escape(DESCRIBED[scope])} (<code>{escape(scope)}</code>)</li>" for scope in scopes)
    access = "\n".join(_access(organization, app) for organization in organizations)
    body = f"""<p>{escape(app.name)} wants to access your {escape(user.login)} account.</p>
<h2>Personal user data</h2>
<ul>{wanted or "<li>Public data only</li>"}</ul>
<h2>Organization access</h2>
<ul>{access or "<li>None</li>"}</ul>
<form method="post" action="/login/oauth/authorize">
{_hidden(fields)}
<button name="authorize" value="0">Cancel</button>
<button name="authorize" value="1">Authorize {escape(app.name)}</button>
</form>"""
    return _page(f"Authorize {app.name}", body)


def problem(title: str, said: str) -> str:
    """Say what went wrong."""
    return _page(title, f"<p>{escape(said)}</p>")


def not_found() -> str:
    """Say that there is no such page, or no such app."""
    return problem("Page not found", "This is not the web page you are looking for.")
