"""Required values that are not set, or are still placeholders."""

from __future__ import annotations

from ..addresses import callback_url
from ..placeholders import is_placeholder
from ..problems import Finding, shown
from ..registry import Check, Findings, Rules
from .addresses import public_url

rule = Rules()

GENERATED = "make one with: openssl rand -hex 32 (or leave it out to have one generated)"
SECRETS = ("hub_user_password", "hub_admin_password", "hub_cookie_secret", "hub_crypt_key", "proxy_token")
ADDRESSES = {
    "jupyterhub_url": "write the address that browsers use, or remove it to use that of jupyterhub_address",
    "hub_github_url": "write https://github.com, or the address of your GitHub Enterprise Server",
    "hub_github_callback_url": "remove it: it follows from jupyterhub_url",
    **dict.fromkeys(
        ("images_pip_index_url", "images_npm_registry", "images_apt_mirror", "images_http_proxy", "images_https_proxy"),
        "write the address, or remove it",
    ),
}
LISTS = {
    "hub_admin_users": "write the administrators' login names, as GitHub has them",
    "hub_allowed_users": "write the login names of users who may log in, or remove it",
    "hub_blocked_users": "write the login names of users who may not log in, or remove it",
    "hub_github_allowed_organizations": "write the organisations as in github.com/<organisation>, or remove it",
    "hub_github_allowed_teams": 'write "organisation:team", or remove it',
    "hub_github_admin_teams": 'write "organisation:team", or remove it',
}


def _absent(value: str | None, *, secret: bool = False) -> str:
    """Return whether a required value is unset or a placeholder, as a message; "" if it is neither."""
    if value is None:
        return "is not set, and hub_authenticator: github needs it"
    return "is still a placeholder" if is_placeholder(value, secret=secret) else ""


@rule("hub_github_client_id?", "hub_authenticator", "jupyterhub_url??", "jupyterhub_address??", "jupyterhub_port??")
def client_id(
    value: str | None, authenticator: str, url: str | None, address: str | None, port: int | None
) -> Findings:
    """GitHub requires it."""
    if authenticator == "github" and (absent := _absent(value)):
        callback = callback_url(public_url(url, address, port))
        yield Finding(
            absent,
            "create an OAuth app at https://github.com/settings/applications/new with the authorization callback URL "
            f"{callback} and put its client ID here (docs/how-to/github.md)",
        )


@rule("hub_github_client_secret?", "hub_authenticator")
def client_secret(value: str | None, authenticator: str) -> Findings:
    """GitHub requires it."""
    if authenticator == "github" and (absent := _absent(value, secret=True)):
        yield Finding(
            absent,
            "generate a client secret on the page of that OAuth app, and put it into the vault: "
            ".venv/bin/ansible-vault edit group_vars/<group>/vault.yml (docs/how-to/github.md)",
        )


def _register_tables() -> None:
    """Register rules that are the same for many settings."""

    def text(fix: str, *, secret: bool = False) -> Check:
        def check(value: str) -> Findings:
            if is_placeholder(value, secret=secret):
                yield Finding("is still a placeholder" + ("" if secret else f": {shown(value)}"), fix)

        return check

    def items(setting: str, fix: str) -> Check:
        def check(values: list[str]) -> Findings:
            for index, value in enumerate(values):
                if is_placeholder(value):
                    yield Finding(f"is still a placeholder: {shown(value)}", fix, f"{setting}[{index}]")

        return check

    for setting in SECRETS:
        rule(setting)(text(GENERATED, secret=True))
    for setting, fix in ADDRESSES.items():
        rule(setting)(text(fix))
    for setting, fix in LISTS.items():
        rule(setting)(items(setting, fix))


_register_tables()
