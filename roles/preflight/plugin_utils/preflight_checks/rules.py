"""Rules for settings that are of the right type: ranges, forms, and settings that must fit each other.

To add one, write a function under `@rule(settings it reads)`.  It is called only
when all of them are set and of the right type; what it yields is about the first.
Messages show a value only where no secret can be in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from .problems import Finding, did_you_mean, shown
from .registry import Check, Findings, Rules

rule = Rules()

# setting: smallest and largest value (None: no limit)
RANGES: dict[str, tuple[float, float | None]] = {
    "jupyterhub_port": (1, 65535),
    "preflight_disk_min_gb": (0, None),
    "preflight_memory_min_mb": (0, None),
    "docker_log_max_size_mb": (1, None),
    "docker_log_max_files": (1, None),
    "images_keep": (0, None),
    "hub_server_memory_mb": (128, None),
    "hub_server_cpus": (0.1, None),
    "hub_server_pids": (64, None),
    "hub_start_timeout_s": (5, 3600),
    "hub_named_servers_limit": (0, None),
}
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ADDRESSES = (
    "images_pip_index_url",
    "images_npm_registry",
    "images_apt_mirror",
    "images_http_proxy",
    "images_https_proxy",
)
VOLUME_FIELDS = ("username", "safe_username", "raw_username", "servername", "raw_servername")
KEYS_OF_32_BYTES = ("hub_cookie_secret", "hub_crypt_key", "proxy_token")


def is_loopback(address: str) -> bool:
    """Return whether an address reaches this machine only; False for what is no address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@rule("jupyterhub_name")
def name(value: str) -> Findings:
    """Docker's names, a bridge's 15 characters (`br-<name>`) and DNS set the limits."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", value):
        yield Finding(
            f"cannot begin names of containers and networks: {shown(value)}",
            "use 1 to 12 lower-case letters, digits and hyphens, a letter first and no hyphen last",
        )


@rule("jupyterhub_name")
def name_of_no_user(value: str) -> Findings:
    """Server `b-user-c` of a Hub `a` would be server `c` of a Hub `a-user-b`."""
    if "user" in value.split("-")[1:]:
        yield Finding('contains the word "-user": names of two Hubs could meet', "choose another name")


@rule("jupyterhub_root")
def root(value: str) -> Findings:
    """Ownership and modes of this folder are changed: it must not be one that others use."""
    parts = value.split("/")
    if ".." in parts or len([part for part in parts if part not in ("", ".")]) < 2:
        yield Finding(f"is not a folder of its own: {shown(value)}", "name one such as /srv/jupyterhub")


@rule("jupyterhub_address")
def address(value: str) -> Findings:
    """Docker publishes ports on addresses, not on host names."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        yield Finding(f"is not an IP address: {shown(value)}", "use 127.0.0.1, 0.0.0.0 or an address of the machine")


@rule("jupyterhub_address", "hub_authenticator")
def shared_password_stays_at_home(value: str, authenticator: str) -> Findings:
    """Whoever reaches it can pose as any user."""
    if authenticator == "shared-password" and not is_loopback(value):
        yield Finding(
            f"others reach {shown(value)}, and with hub_authenticator: shared-password anybody logs in as anybody",
            "set it to 127.0.0.1 (an SSH tunnel reaches it from elsewhere)",
        )


@rule("hub_user_password")
def user_password(value: str) -> Findings:
    """JupyterHub refuses to start with a shorter one."""
    if len(value) < 8:
        yield Finding(
            "is shorter than the 8 characters JupyterHub asks for",
            "take a longer one, or leave it out: one is generated",
        )


@rule("hub_admin_password")
def admin_password(value: str) -> Findings:
    """JupyterHub refuses to start with a shorter one."""
    if len(value) < 32:
        yield Finding(
            "is shorter than the 32 characters JupyterHub asks for",
            "take a longer one, or leave it out: one is generated",
        )


@rule("hub_admin_password", "hub_user_password")
def passwords_differ(admin: str, user: str) -> Findings:
    """JupyterHub refuses to start with twice the same."""
    if admin == user:
        yield Finding("is the same as hub_user_password: every user would be an admin", "take two different ones")


@rule("hub_default_environment", "images_environments")
def default_environment(value: str, environments: list[Mapping[str, Any]]) -> Findings:
    """The preselected environment must be one of the list."""
    slugs = [str(entry.get("slug")) for entry in environments]
    if value not in slugs:
        advice = did_you_mean(value, slugs, f"choose one of: {', '.join(slugs) or '(images_environments is empty)'}")
        yield Finding(f"names no environment of images_environments: {shown(value)}", advice)


@rule("hub_volume_name_template")
def volume_template(value: str) -> Findings:
    """A home belongs to one user, and the Hub knows these fields only."""
    unknown = [field for field in re.findall(r"[{]([^{}]*)[}]?", value) if field not in VOLUME_FIELDS]
    if unknown:
        known = ", ".join(f"{{{field}}}" for field in VOLUME_FIELDS)
        yield Finding(f"has the unknown field {shown(unknown[0])}", f"use {known}")
    if "username}" not in value:
        advice = "for example jhub-user-{username}-{servername}"
        yield Finding("lacks {username}: all users would share one home", advice)


@rule("hub_volume_name_template", "hub_named_servers_share_home", "hub_named_servers_limit")
def volume_template_of_named_servers(value: str, share: bool, limit: int) -> Findings:
    """Two servers must not write to one home unless that is wanted."""
    if limit and share == ("servername}" in value):
        fact = (
            "has {servername}, but hub_named_servers_share_home is true"
            if share
            else "lacks {servername}, but each named server has a home of its own"
        )
        yield Finding(fact, "make hub_named_servers_share_home agree with the template")


@rule("hub_server_environment")
def server_environment(variables: Mapping[str, Any]) -> Findings:
    """What Docker takes for an environment variable."""
    for variable, value in variables.items():
        about = f"hub_server_environment.{variable}"
        if not ENVIRONMENT_NAME.fullmatch(variable):
            yield Finding(
                "is no name for an environment variable", "use letters, digits and underscores, no digit first", about
            )
        if not isinstance(value, str):
            yield Finding("is not a text", "put the value in quotes", about)


@rule("hub_traits")
def traits(classes: Mapping[str, Any]) -> Findings:
    """The Hub merges them class by class."""
    for name_of_class, values in classes.items():
        about = f"hub_traits.{name_of_class}"
        if not re.fullmatch(r"[A-Z]\w*", name_of_class):
            yield Finding("is no name of a class", "write it as {Class: {trait: value}}", about)
        if not isinstance(values, Mapping):
            yield Finding("is not a mapping of traits", "write it as {Class: {trait: value}}", about)


@rule("docker_daemon_settings", "docker_swarm_enabled")
def live_restore_excludes_swarm(settings: Mapping[str, Any], swarm: bool) -> Findings:
    """The engine would not start."""
    if swarm and settings.get("live-restore") is True:
        yield Finding("live-restore is incompatible with docker_swarm_enabled: true", "remove one of the two")


@rule("proxy_users_subnet")
def users_subnet(value: str) -> Findings:
    """Private, and large enough for two containers and many servers."""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        yield Finding(f"is not an IPv4 network: {error}", "write one such as 10.213.0.0/20")
        return
    if not any(
        network.subnet_of(ipaddress.IPv4Network(block)) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    ):
        yield Finding(
            f"is not a private network: {shown(value)}", "take a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
        )
    if not 16 <= network.prefixlen <= 24:
        yield Finding(
            f"is too small or too large: {shown(value)}",
            "use /16 to /24; /20 is room for all servers that one bridge can hold",
        )


@rule("images_refresh_date")
def refresh_date(value: str) -> Findings:
    """A part of the images' hashes."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", value):
        yield Finding(f"is not a date: {shown(value)}", 'write it in quotes as "YYYY-MM-DD"')


@rule("images_apt_mirror")
def apt_mirror(value: str) -> Findings:
    """The images keep it, for packages that are added to them later."""
    if "@" in value:
        yield Finding(
            "has a password, which would be kept in all images", "give a mirror without one, or images_http_proxy"
        )


@rule("images_base")
def base_image(value: str) -> Findings:
    """What Docker takes for a reference."""
    if not re.fullmatch(r"[\w./:@-]+", value):
        yield Finding(f"is not an image reference: {shown(value)}", "write one such as debian:trixie-slim")


def _register_tables() -> None:
    """Rules of one form for many settings."""

    def in_range(low: float, high: float | None) -> Check:
        def check(value: float) -> Findings:
            if value < low or (high is not None and value > high):
                wanted = f"at least {low}" if high is None else f"{low} to {high}"
                yield Finding(f"is out of range: {shown(value)}", f"use {wanted}")

        return check

    def web_address(value: str) -> Findings:
        if not re.match(r"https?://[^/\s]", value):
            yield Finding("is not an http:// or https:// address", "write the whole address, beginning with https://")

    def hex_key(value: str) -> Findings:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            yield Finding(
                f"is not 64 hexadecimal digits (it has {len(value)} characters)",
                "make one with: openssl rand -hex 32 (or leave it out: one is generated)",
            )

    for setting, limits in RANGES.items():
        rule(setting)(in_range(*limits))
    for setting in ADDRESSES:
        rule(setting)(web_address)
    for setting in KEYS_OF_32_BYTES:
        rule(setting)(hex_key)


_register_tables()
