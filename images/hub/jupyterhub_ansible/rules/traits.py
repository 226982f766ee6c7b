"""Options of JupyterHub's classes that are set past the settings: what would undo what these promise."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from . import containers
from .mounts import Ours, may_be_closed, may_be_of_machine, wrong_source
from .trait_table import DAY_S, ROWS

DISGUISED = "has a setting of its own"
DECIDED = "is for the deployment to decide"
REMOVE = "remove it"
NOTHING = Ours()


class Refusal(NamedTuple):
    """`path`: class, trait, and what is within."""

    path: tuple[str, ...]
    what: str
    fix: str


# Options that say the same as a setting, beside those of the table.
_AUTHENTICATOR = {
    "whitelist": "hub_allowed_users",
    "user_password": "hub_user_password",
    "admin_password": "hub_admin_password",
    "allowed_organizations": "hub_github_allowed_organizations and hub_github_allowed_teams",
}
_GITHUB = {"client_secret": "hub_github_client_secret"}
_HUB = {
    "admin_users": "hub_admin_users",
    "cookie_secret": "hub_cookie_secret",
    "cookie_secret_file": "hub_cookie_secret",
    "proxy_auth_token": "proxy_token",
    "bind_url": "jupyterhub_address and jupyterhub_port",
    "ip": "jupyterhub_address",
    "port": "jupyterhub_port",
}
_PROXY = {"auth_token": "proxy_token"}
_KEEPER = {"keys": "hub_crypt_key"}


# Some of their values have no setting.
_JUDGED = ("auth_refresh_age", "token_expires_in_max_seconds")
_OF_GROUPS = tuple(row.trait for row in ROWS if row.cls == "Spawner")


def _of_table(kind: str, authenticator: str = "") -> dict[str, str]:
    """Return the settings by the options that they set, of the classes that end so."""
    return {
        row.trait: row.setting
        for row in ROWS
        if row.cls.endswith(kind) and row.login in ("", authenticator) and row.trait not in _JUDGED
    }


# Where Hub, proxy, engine and users' servers find each other, and what a choice of the start page gives a server.
_DECIDED_OF_HUB = ("hub_bind_url", "hub_connect_url", "hub_connect_ip", "hub_connect_port", "hub_ip", "hub_port")
_DECIDED_OF_PROXY = ("api_url", "should_start")
_DECIDED_OF_SPAWNER = (
    "apply_user_options",
    "container_ip",
    "host_ip",
    "links",
    "network_name",
    "run_as_root",
    "tls",
    "tls_assert_hostname",
    "tls_ca",
    "tls_cert",
    "tls_config",
    "tls_key",
    "tls_verify",
    "use_docker_client_env",
    "use_internal_ip",
)
# Without them nobody would be looked at again: leaving would not mean leaving.
_LOOKS_AGAIN = ("enable_auth_state", "auth_refresh_age")
_LONGEST_REFRESH_S = DAY_S
# Parents that every class has: what is set on them is set on all.
_EVERYBODY = ("Application", "Configurable", "LoggingConfigurable", "SingletonConfigurable")
# A spawner of the operator's own is a class by its path; those that are there already start servers without walls.
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_OTHER_SPAWNERS = ("dockerspawner.", "jupyterhub.")
_LISTED = {
    "extra_host_config": containers.HOST_CONFIG,
    "extra_create_kwargs": containers.CREATE,
    "client_kwargs": containers.CLIENT,
}
# Those of SERVICE_... are Coolify's, which hands its generated ones to every container.
_SECRET_VARIABLE = re.compile(
    r"(SECRET|PASSWORD|(^|_|API)(TOKEN|(?<!LICENSE_)KEY))S?(_FILE)?$|^JUPYTERHUB_SETTINGS$|^SERVICE_", re.IGNORECASE
)
_FIELD = re.compile(r"\{[^{}]*\}")
_SAFE_FIELDS = {"{username}", "{safe_username}", "{servername}", "{imagename}"}


def refused(classes: Mapping[str, Any], authenticator: str | None, ours: Ours = NOTHING) -> Iterator[Refusal]:
    """Yield what may not be set on classes.

    Args:
        classes: `{class: {trait: value}}`.
        authenticator: its name, or class.
        ours: what is not to be mounted.
    """
    for name, traits in classes.items():
        for trait, value in traits.items() if isinstance(traits, Mapping) else ():
            yield from _refused((name, trait), name, value, authenticator or "", ours)


def _refused(path: tuple[str, ...], name: str, value: Any, authenticator: str, ours: Ours) -> Iterator[Refusal]:
    trait = path[-1]
    everybody, own = name in _EVERYBODY, authenticator.rpartition(".")[2]
    is_authenticator = name.endswith("Authenticator") or name == own or everybody
    is_hub, is_proxy = (name == "JupyterHub" or everybody), (name.endswith("Proxy") or everybody)
    is_spawner = everybody or not (is_authenticator or is_hub or is_proxy or name == "CryptKeeper")
    settings: dict[str, str] = {}
    decided: tuple[str, ...] = ()
    if is_authenticator:
        settings |= _of_table("Authenticator", authenticator) | _AUTHENTICATOR
        settings |= _GITHUB if authenticator == "github" else {}
    if is_hub:
        settings, decided = settings | _of_table("JupyterHub") | _HUB, decided + _DECIDED_OF_HUB
    if is_proxy:
        settings, decided = settings | _PROXY, decided + _DECIDED_OF_PROXY
    if is_spawner:
        settings, decided = settings | _of_table("Spawner"), decided + _DECIDED_OF_SPAWNER
    if name == "CryptKeeper":
        settings |= _KEEPER
    if trait in settings:
        yield Refusal(path, DISGUISED, f"set {settings[trait]} instead")
    elif trait in decided:
        yield Refusal(path, DECIDED, REMOVE)
    elif is_authenticator and trait in ("allow_existing_users", *_LOOKS_AGAIN):
        yield from _lets_in(path, value, authenticator)
    elif is_hub and trait == "token_expires_in_max_seconds":
        # Parts of a day have no setting.
        if isinstance(value, int) and value % DAY_S == 0:
            yield Refusal(path, DISGUISED, "set hub_token_max_age_days instead")
    elif is_hub and trait == "spawner_class":
        yield from _other_spawner(path, value)
    else:
        # Whatever the class is called: only spawners have such.
        yield from _of_servers(path, name, value, authenticator, ours)


def _lets_in(path: tuple[str, ...], value: Any, authenticator: str) -> Iterator[Refusal]:
    if path[-1] == "allow_existing_users":
        if value:
            yield Refusal(path, "lets in who was in once, whoever left meanwhile", REMOVE)
    elif authenticator == "github" and (
        not value or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > _LONGEST_REFRESH_S)
    ):
        yield Refusal(path, "would keep in whoever left the organisation or team", REMOVE)


def _other_spawner(path: tuple[str, ...], value: Any) -> Iterator[Refusal]:
    if isinstance(value, str) and (value.startswith(_OTHER_SPAWNERS) or not _CLASS_PATH.fullmatch(value)):
        yield Refusal(path, "would start servers without their limits and walls", REMOVE)


def _of_servers(path: tuple[str, ...], name: str, value: Any, authenticator: str, ours: Ours) -> Iterator[Refusal]:
    trait = path[-1]
    if trait in _LISTED:
        yield from (Refusal(*found) for found in containers.unsafe(value, _LISTED[trait], *path))
    elif trait in ("volumes", "read_only_volumes") and isinstance(value, Mapping):
        for source, target in value.items():
            mode = target.get("mode") if isinstance(target, Mapping) else None
            modes = str(mode or ("rw" if trait == "volumes" else "ro")).split(",")
            yield from _wrong_source((*path, source), source, ours, read_only="ro" in modes)
            if isinstance(target, Mapping):
                yield from (Refusal(*found) for found in containers.unsafe(target, _BIND, *path, source))
    elif trait == "mounts" and isinstance(value, list):
        for number, mount in enumerate(value):
            where = (*path, str(number))
            yield from (Refusal(*found) for found in containers.unsafe(mount, containers.MOUNT, *where))
            if isinstance(mount, Mapping) and mount.get("type") != "tmpfs":
                read_only = mount.get("read_only") is True
                yield from _wrong_source((*where, "source"), mount.get("source"), ours, read_only=read_only)
    elif trait == "env_keep" and isinstance(value, list):
        for variable in value:
            if isinstance(variable, str) and _SECRET_VARIABLE.search(variable):
                yield Refusal((*path, variable), "would tell every user a secret of the Hub", REMOVE)
    elif trait == "group_overrides" and isinstance(value, Mapping):
        for group, override in value.items():
            traits = override.get("spawner_override") if isinstance(override, Mapping) else None
            for each, inner in traits.items() if isinstance(traits, Mapping) else ():
                where = (*path, str(group), "spawner_override", str(each))
                # Of one group, there is no setting for these.
                if each not in _OF_GROUPS:
                    yield from _refused(where, name, inner, authenticator, ours)


_MODES = {"ro", "rw", "z", "Z", "nocopy", "cached", "consistent", "delegated", *containers.PROPAGATION}
_BIND: dict[str, tuple[containers.Check, str]] = {
    "bind": (lambda value: True, ""),
    # Docker takes propagation for a part of it as well.
    "mode": (lambda value: isinstance(value, str) and set(value.split(",")) <= _MODES, "rw or ro"),
    "propagation": containers.MOUNT["propagation"],
}


def _wrong_source(path: tuple[str, ...], source: Any, ours: Ours, *, read_only: bool) -> Iterator[Refusal]:
    text = str(source)
    before, *fields = re.split(r"(?=\{)", text, maxsplit=1)
    if text.startswith("/"):
        if set(_FIELD.findall(text)) - _SAFE_FIELDS:
            # Names of users and servers are only made safe for paths in these.
            yield Refusal(path, "has a field that could lead anywhere", "use {username} and {servername}")
            return
        if fields and may_be_of_machine(before, ours):
            fix = "take a folder of its own, such as /srv/homes/{username}"
            yield Refusal(path, "would be a folder of the machine for a user of its name", fix)
            return
    elif fields and not before:
        yield Refusal(path, "would be another volume for a user of its name", "begin it with a word of your own")
        return
    elif fields and may_be_closed(before, ours):
        yield Refusal(path, "may be a user's home, or the Hub's", "set hub_volume_name_template instead")
        return
    for plain in dict.fromkeys((_FIELD.sub("x", text), _FIELD.sub("x", text.replace("{servername}", "")))):
        if wrong := wrong_source(plain, ours, read_only=read_only):
            yield Refusal(path, wrong[0], wrong[1])
            return
