"""Settings and secrets from environment variables, where the Hub runs as a Compose application, and only there.

They are laid over the settings of the image's hub.json. JUPYTERHUB_SETTINGS holds any of these, as YAML or JSON;
the other variables are the few that everybody sets. An empty variable counts as unset: Compose passes on such.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

SWITCH = "JUPYTERHUB_SETTINGS_FROM_ENVIRONMENT"
"""Set to 1 by the Compose application; elsewhere the variables are not looked at."""
ANYTHING = "JUPYTERHUB_SETTINGS"
CALLBACK_PATH = "/hub/oauth_callback"

SECRETS = {
    "GITHUB_CLIENT_SECRET": "github_client_secret",
    "JUPYTERHUB_COOKIE_SECRET": "cookie_secret",
    "JUPYTERHUB_CRYPT_KEY": "crypt_key",
    "CONFIGPROXY_AUTH_TOKEN": "proxy_token",
}
"""Each may be given as <name>_FILE, too: the path of a file that holds it."""

Settings = dict[str, Any]


class EnvironmentVariableError(Exception):
    """Variables that cannot be used; `str()` gives one line per problem, with no value in it."""


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _github(settings: Settings) -> Settings:
    # null where the image's settings know of no OAuth app.
    settings["github"] = settings.get("github") or {}
    return {"allowed_organizations": [], "allowed_teams": [], **settings["github"]}


def _client_id(settings: Settings, text: str) -> None:
    settings["github"] = {**_github(settings), "client_id": text}


def _callback(settings: Settings, text: str) -> None:
    if not text.endswith(CALLBACK_PATH):
        raise ValueError(f"must be the public address with {CALLBACK_PATH} at its end, as in the OAuth app")
    settings["public"]["url"] = text.removesuffix(CALLBACK_PATH)


def _organizations(settings: Settings, text: str) -> None:
    words = _words(text)
    settings["github"] = {
        **_github(settings),
        "allowed_organizations": [word for word in words if ":" not in word],
        "allowed_teams": [word for word in words if ":" in word],
    }


def _admins(settings: Settings, text: str) -> None:
    settings["access"]["admin_users"] = _words(text)


def _image(slug: str) -> Callable[[Settings, str], None]:
    def image(settings: Settings, text: str) -> None:
        [found] = [each for each in settings["environments"] if each["slug"] == slug] or [None]
        if found is None:
            raise ValueError(f"the catalogue has no environment {slug}")
        found["image"] = text
        # What the deployment found was in another one.
        found["contents"] = []

    return image


VARIABLES: dict[str, Callable[[Settings, str], None]] = {
    "GITHUB_CLIENT_ID": _client_id,
    "OAUTH_CALLBACK_URL": _callback,
    "ALLOWED_GITHUB_ORGS": _organizations,
    "ADMIN_GITHUB_USERS": _admins,
    "DOCKER_NOTEBOOK_IMAGE_BASE": _image("base"),
    "DOCKER_NOTEBOOK_IMAGE_DATASCIENCE": _image("datascience"),
}


def _merged(below: Any, above: Any) -> Any:
    """`above` over `below`: mappings key by key, anything else as a whole."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return above


def _anything(text: str) -> Settings:
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # Not the error's own text, which quotes the line.
        raise ValueError(f"is neither YAML nor JSON{where}") from None
    if not isinstance(settings, dict):
        raise ValueError("must be a mapping of settings")
    return settings


def overlaid(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings with those of the environment over them; the variables of everybody's win.

    Raises:
        EnvironmentVariableError: a variable's value cannot be used.
    """
    problems = []
    try:
        result: Settings = _merged(settings, _anything(environ.get(ANYTHING) or "{}"))
    except ValueError as error:
        problems.append(f"{ANYTHING}: {error}")
        result = settings
    for name, apply in VARIABLES.items():
        if text := environ.get(name, "").strip():
            try:
                apply(result, text)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return result


def secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets of the environment, and of the files that it names.

    Raises:
        EnvironmentVariableError: a file cannot be read, or a secret is given twice.
    """
    found, problems = {}, []
    for variable, name in SECRETS.items():
        text, file = environ.get(variable, "").strip(), environ.get(f"{variable}_FILE", "").strip()
        if text and file:
            problems.append(f"{variable}: is set, and {variable}_FILE as well; remove one of them")
        elif file:
            try:
                text = Path(file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not text"
                problems.append(f"{variable}_FILE: cannot read {file}: {reason}")
        if text:
            found[name] = text
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return found
