"""Settings and secrets from environment variables, where the Hub runs as a Compose application, and only there.

They are laid over the settings of the image's hub.json. JUPYTERHUB_SETTINGS holds any of these, as YAML or JSON;
the other variables are the few that everybody sets. An empty variable counts as unset: Compose passes on such.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

SWITCH = "JUPYTERHUB_SETTINGS_FROM_ENVIRONMENT"
"""Set to 1 by the Compose application; elsewhere the variables are not looked at."""
ON, OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
ANYTHING = "JUPYTERHUB_SETTINGS"
CALLBACK_PATH = "/hub/oauth_callback"
# As `public.url` has to be.
URL = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")

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


def is_read(environ: Mapping[str, str]) -> bool:
    """Return whether the variables are to be looked at.

    Raises:
        EnvironmentVariableError: the switch says neither.
    """
    switch = environ.get(SWITCH, "").strip().lower()
    if switch not in ON + OFF:
        raise EnvironmentVariableError(f"{SWITCH}: must be 1, true, yes or on; or 0, false, no or off")
    return switch in ON


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _part(settings: Settings, name: str) -> Settings:
    part = settings.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"sets a part of {name}, which must be a mapping; correct {ANYTHING} or hub.json")
    return part


def _github(settings: Settings) -> Settings:
    # null where the image's settings know of no OAuth app.
    given = {} if settings.get("github") is None else _part(settings, "github")
    return {"allowed_organizations": [], "allowed_teams": [], **given}


def _client_id(settings: Settings, text: str) -> None:
    settings["github"] = {**_github(settings), "client_id": text}


def _callback(settings: Settings, text: str) -> None:
    if not text.endswith(CALLBACK_PATH):
        raise ValueError(f"must be the public address with {CALLBACK_PATH} at its end, as in the OAuth app")
    url = text.removesuffix(CALLBACK_PATH)
    try:
        parts = urlsplit(url)
        # Its port is read so that a wrong one is told.
        host = (parts.port != 0 and parts.hostname) or ""
    except ValueError:
        host = ""
    if not host or not URL.fullmatch(url):
        raise ValueError(f"must be the public address, https://<domain>, with {CALLBACK_PATH} at its end")
    if url.startswith("http://") and not _is_loopback(host):
        raise ValueError("is http, so that logins could be read on the way; write https://, here and in the OAuth app")
    _part(settings, "public")["url"] = url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _organizations(settings: Settings, text: str) -> None:
    words = _words(text)
    named = {
        "allowed_organizations": [word for word in words if ":" not in word],
        "allowed_teams": [word for word in words if ":" in word],
    }
    # Teams that JUPYTERHUB_SETTINGS lets in stay where the variable names organizations only, and the reverse.
    settings["github"] = {**_github(settings), **{kind: names for kind, names in named.items() if names}}


def _admins(settings: Settings, text: str) -> None:
    _part(settings, "access")["admin_users"] = _words(text)


def _image(slug: str) -> Callable[[Settings, str], None]:
    def image(settings: Settings, text: str) -> None:
        catalogue = settings.get("environments")
        items: list[Any] = catalogue if isinstance(catalogue, list) else [None]
        slugs = [item.get("slug") if isinstance(item, dict) else None for item in items]
        if None in slugs or slugs.count(slug) > 1:
            raise ValueError(
                f"environments must be a list, each with a slug of its own; correct {ANYTHING} or hub.json"
            )
        if slug not in slugs:
            raise ValueError(f"the catalogue has no environment {slug}")
        # What the deployment found was in another one; a profile of the same image (`image_of`) goes with it.
        old = items[slugs.index(slug)].get("image")
        for item in items:
            if item["slug"] == slug or (old and item.get("image") == old):
                item |= {"image": text, "contents": []}

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


def _strange(value: Any, *path: str) -> Iterator[str]:
    """Tell what YAML knows and JSON does not: dates, sets, names that are no text."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(name, str):
                yield from _strange(each, *path, name)
            else:
                yield f"{'.'.join(path) or 'it'}: has a name that is no text; write it in quotes"
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _strange(each, *path, str(number))
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
        yield f"{'.'.join(path)}: is no text, number, list or mapping; write it in quotes"


def _anything(text: str) -> Settings:
    try:
        settings = yaml.safe_load(text.strip())
        problems = list(_strange(settings)) if isinstance(settings, dict) else []
    # What a tag (!!int x) or a mapping within itself brings, which are no errors of YAML's own.
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # Not the error's own text, which quotes the line.
        raise ValueError(f"is neither YAML nor JSON{where}") from None
    if problems:
        raise ValueError(f"\n{ANYTHING}: ".join(problems))
    if settings is None:
        return {}
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
        result: Settings = _merged(settings, _anything(environ.get(ANYTHING, "")))
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
        EnvironmentVariableError: a file cannot be read or is empty, or a secret is given twice.
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
            else:
                if not text:
                    problems.append(f"{variable}_FILE: {file} is empty; write the secret into it")
        if text:
            found[name] = text
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return found
