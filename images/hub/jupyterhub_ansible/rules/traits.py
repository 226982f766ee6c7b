"""Traits in hub_traits that would bypass a setting, or break what the deployment guarantees."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from . import containers
from .mounts import FIELD, Mounted, Protected, may_be_protected_volume, may_be_system_folder, wrong_source
from .trait_table import DAY_S, ROWS

HAS_SETTING = containers.OWN_SETTING
FIXED = "is set by the deployment"
REMOVE = "remove it"
NOTHING = Protected()


class Refusal(NamedTuple):
    """A refused value; `path` is class, trait and the keys below it."""

    path: tuple[str, ...]
    what: str
    fix: str


# Traits that correspond to a setting, besides those of the table.
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


# Some of their values have no setting, so they are checked by value.
_BY_VALUE = ("auth_refresh_age", "token_expires_in_max_seconds")
_OF_GROUPS = tuple(row.trait for row in ROWS if row.cls == "Spawner")


def _of_table(kind: str, authenticator: str = "") -> dict[str, str]:
    """Return the settings by trait, for the classes whose names end in `kind`."""
    return {
        row.trait: row.setting
        for row in ROWS
        if row.cls.endswith(kind) and row.login in ("", authenticator) and row.trait not in _BY_VALUE
    }


# How Hub, proxy, engine and users' servers reach each other, and how a profile's options are applied.
_FIXED_OF_HUB = ("hub_bind_url", "hub_connect_url", "hub_connect_ip", "hub_connect_port", "hub_ip", "hub_port")
_FIXED_OF_PROXY = ("api_url", "should_start")
_FIXED_OF_SPAWNER = (
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
# Without them memberships would not be re-checked, so users who left would keep access.
_MEMBERSHIP_CHECKS = ("enable_auth_state", "auth_refresh_age", "auth_refresh_strict", "refresh_user_hook")
_LONGEST_REFRESH_S = DAY_S
CACHE = re.compile(r"--\w+\.(?:cookie_)?cache_max_age(?:=(\d+)|\b.*)")
"""A server's argument: seconds for which it relies on the Hub's last answer about a user; 0 is for ever."""
LONGEST_CACHE_S = 30
"""Without the argument it would be five minutes (workspaces.spawner)."""
# Common parents of all classes: a trait set on one of them applies to every class.
_COMMON_PARENTS = ("Application", "Configurable", "LoggingConfigurable", "SingletonConfigurable")
# The operator's own spawner or proxy is given by its class path; the ready-made ones lack what ours guarantee.
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_CLASSES = {
    "spawner_class": (("dockerspawner.", "jupyterhub."), "would start servers without limits and isolation"),
    "proxy_class": (("jupyterhub.", "jupyterhub_traefik_proxy."), "could lead users to servers of others"),
}
_LISTED = {
    "extra_host_config": containers.HOST_CONFIG,
    "extra_create_kwargs": containers.CREATE,
    "client_kwargs": containers.CLIENT,
}
# Coolify passes its generated secrets to every container as SERVICE_...
_SECRET_VARIABLE = re.compile(
    r"(SECRET|PASSWORD|(^|_|API)(TOKEN|(?<!LICENSE_)KEY))S?(_FILE)?$|^JUPYTERHUB_SETTINGS$|^SERVICE_", re.IGNORECASE
)
_SAFE_FIELDS = {"{username}", "{safe_username}", "{servername}", "{imagename}"}


def refused(classes: Mapping[str, Any], authenticator: str | None, closed: Protected = NOTHING) -> Iterator[Refusal]:
    """Yield what may not be set on classes.

    Args:
        classes: `{class: {trait: value}}`.
        authenticator: its name, or class.
        closed: what servers must not mount.
    """
    for name, traits in classes.items():
        for trait, value in traits.items() if isinstance(traits, Mapping) else ():
            yield from _refused((name, trait), name, _with_names(value), authenticator or "", closed)


def mounted(classes: Mapping[str, Any]) -> Iterator[Mounted]:
    """Yield what servers mount by traits of classes, besides memory."""
    for name, traits in classes.items():
        yield from _mounted_by_all((name,), traits)


def _mounted_by_all(path: tuple[str, ...], traits: Any) -> Iterator[Mounted]:
    for trait, value in traits.items() if isinstance(traits, Mapping) else ():
        for where, source, writable in _mounted((*path, str(trait)), _with_names(value)):
            yield Mounted(".".join(where), str(source), writable, by_traits=True)
        if trait == "group_overrides" and isinstance(value, Mapping):
            for group, override in value.items():
                inner = override.get("spawner_override") if isinstance(override, Mapping) else None
                yield from _mounted_by_all((*path, trait, str(group), "spawner_override"), inner)


def _mounted(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    """Yield what one trait mounts: where that is set, the source, and whether servers can write there."""
    if path[-1] in ("volumes", "read_only_volumes") and isinstance(value, Mapping):
        for source, target in value.items():
            mode = target.get("mode") if isinstance(target, Mapping) else None
            modes = str(mode or ("rw" if path[-1] == "volumes" else "ro")).split(",")
            yield (*path, source), source, "ro" not in modes
    elif path[-1] == "mounts" and isinstance(value, list):
        for number, mount in enumerate(value):
            if isinstance(mount, Mapping) and mount.get("type") != "tmpfs":
                yield (*path, str(number), "source"), mount.get("source"), mount.get("read_only") is not True


def _with_names(value: Any) -> Any:
    """Return a value of lists, and of dictionaries with strings as keys, as JSON has them: Python has others."""
    if isinstance(value, Mapping):
        return {str(key): _with_names(each) for key, each in value.items()}
    return [_with_names(each) for each in value] if isinstance(value, (list, tuple, set, frozenset)) else value


def _refused(path: tuple[str, ...], name: str, value: Any, authenticator: str, closed: Protected) -> Iterator[Refusal]:
    trait = path[-1]
    is_parent, own = name in _COMMON_PARENTS, authenticator.rpartition(".")[2]
    is_authenticator = name.endswith("Authenticator") or name == own or is_parent
    is_hub, is_proxy = (name == "JupyterHub" or is_parent), (name.endswith("Proxy") or is_parent)
    is_spawner = is_parent or not (is_authenticator or is_hub or is_proxy or name == "CryptKeeper")
    settings: dict[str, str] = {}
    fixed: tuple[str, ...] = ()
    if is_authenticator:
        settings |= _of_table("Authenticator", authenticator) | _AUTHENTICATOR
        settings |= _GITHUB if authenticator == "github" else {}
    if is_hub:
        settings, fixed = settings | _of_table("JupyterHub") | _HUB, fixed + _FIXED_OF_HUB
    if is_proxy:
        settings, fixed = settings | _PROXY, fixed + _FIXED_OF_PROXY
    if is_spawner:
        settings, fixed = settings | _of_table("Spawner"), fixed + _FIXED_OF_SPAWNER
    if name == "CryptKeeper":
        settings |= _KEEPER
    if trait in settings:
        yield Refusal(path, HAS_SETTING, f"set {settings[trait]} instead")
    elif trait in fixed:
        yield Refusal(path, FIXED, REMOVE)
    elif is_hub and trait == "db_url":
        what = "would be another database than the one that accounts of GitHub, the commands of the Hub and backups use"
        yield Refusal(path, what, f"{REMOVE}: the Hub's database is a file in its volume")
    elif is_authenticator and trait in ("allow_existing_users", *_MEMBERSHIP_CHECKS):
        yield from _keeps_former_users(path, value, authenticator)
    elif is_hub and trait == "token_expires_in_max_seconds":
        # The setting counts in days, so fractions of a day need the trait.
        if isinstance(value, int) and value % DAY_S == 0:
            yield Refusal(path, HAS_SETTING, "set hub_token_max_age_days instead")
    elif is_hub and trait in _CLASSES:
        yield from _other_class(path, value)
    else:
        # Regardless of the class's name, since only spawners have these traits.
        yield from _of_servers(path, name, value, authenticator, closed)


def _keeps_former_users(path: tuple[str, ...], value: Any, authenticator: str) -> Iterator[Refusal]:
    if path[-1] == "allow_existing_users":
        if value:
            yield Refusal(path, "would let in everyone who ever logged in, even after they left", REMOVE)
    elif authenticator == "github" and (
        # The hook's answer would count as GitHub's.
        bool(value) is (path[-1] == "refresh_user_hook")
        or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > _LONGEST_REFRESH_S)
    ):
        yield Refusal(path, "would let users in who have left the organisation or team", REMOVE)


def _other_class(path: tuple[str, ...], value: Any) -> Iterator[Refusal]:
    ready_made, what = _CLASSES[path[-1]]
    # A class itself only comes from the operator's jupyterhub_config.py.
    name = f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else value
    if isinstance(name, str) and (name.startswith(ready_made) or not _CLASS_PATH.fullmatch(name)):
        yield Refusal(path, what, REMOVE)


def _of_servers(
    path: tuple[str, ...], name: str, value: Any, authenticator: str, closed: Protected
) -> Iterator[Refusal]:
    trait = path[-1]
    if trait in _LISTED and callable(value):
        # Its answer is not known before a start; and the spawner adds to the dictionary.
        yield Refusal(path, "cannot be a function here", "write a dictionary")
    elif trait in _LISTED:
        yield from (Refusal(*found) for found in containers.unsafe(value, _LISTED[trait], *path))
    elif trait in ("volumes", "read_only_volumes", "mounts"):
        for where, source, writable in _mounted(path, value):
            yield from _wrong_source(where, source, closed, read_only=not writable)
        listed, options = (_BIND, value) if isinstance(value, Mapping) else (containers.MOUNT, _numbered(value))
        for key, given in options.items():
            yield from (Refusal(*found) for found in containers.unsafe(given, listed, *path, key))
    elif trait == "args" and isinstance(value, list):
        for found in (CACHE.fullmatch(each) for each in value if isinstance(each, str)):
            if found and not 0 < int(found[1] or 0) <= LONGEST_CACHE_S:
                what = "would keep users in their servers for longer after they have logged out or left"
                yield Refusal((*path, found[0]), what, f"remove it, or write a number from 1 to {LONGEST_CACHE_S}")
    elif trait == "env_keep" and isinstance(value, list):
        for variable in value:
            if isinstance(variable, str) and _SECRET_VARIABLE.search(variable):
                yield Refusal((*path, variable), "would reveal a secret of the Hub to every user", REMOVE)
    elif trait == "group_overrides" and isinstance(value, Mapping):
        for group, override in value.items():
            traits = override.get("spawner_override") if isinstance(override, Mapping) else None
            for each, inner in traits.items() if isinstance(traits, Mapping) else ():
                where = (*path, str(group), "spawner_override", str(each))
                # For a single group these have no setting.
                if each not in _OF_GROUPS:
                    yield from _refused(where, name, inner, authenticator, closed)


def _numbered(value: Any) -> dict[str, Any]:
    return {str(number): each for number, each in enumerate(value)} if isinstance(value, list) else {}


_MODES = {"ro", "rw", "z", "Z", "nocopy", "cached", "consistent", "delegated", *containers.PROPAGATION}
_BIND: dict[str, tuple[containers.Check, str]] = {
    "bind": (lambda value: True, ""),
    # Docker accepts propagation as part of the mode.
    "mode": (lambda value: isinstance(value, str) and set(value.split(",")) <= _MODES, "rw or ro"),
    "propagation": containers.MOUNT["propagation"],
}


def _wrong_source(path: tuple[str, ...], source: Any, closed: Protected, *, read_only: bool) -> Iterator[Refusal]:
    text = str(source)
    before, *fields = re.split(r"(?=\{)", text, maxsplit=1)
    if text.startswith("/"):
        if set(FIELD.findall(text)) - _SAFE_FIELDS:
            # Only in these fields are the names of users and servers escaped for paths.
            yield Refusal(path, "has a field that could point anywhere", "use {username} and {servername}")
            return
        if fields and may_be_system_folder(before, closed):
            fix = "use a dedicated folder, such as /srv/homes/{username}"
            yield Refusal(path, "could be a system folder, depending on the user's name", fix)
            return
    elif fields and not before:
        yield Refusal(path, "could be any volume, depending on the user's name", "begin it with a prefix of your own")
        return
    elif fields and may_be_protected_volume(before, closed):
        what = "may be a user's home, a shared folder or the Hub's data"
        yield Refusal(path, what, "set hub_volume_name_template instead")
        return
    for plain in dict.fromkeys((FIELD.sub("x", text), FIELD.sub("x", text.replace("{servername}", "")))):
        if wrong := wrong_source(plain, closed, read_only=read_only):
            yield Refusal(path, wrong[0], wrong[1])
            return
