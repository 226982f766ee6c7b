"""Users' servers: what they run, and where their files are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..problems import Finding, did_you_mean, shown
from ..registry import Findings, Rules
from ..strict import is_int

rule = Rules()

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# culling.plan.SHORTEST_TIMEOUT_S: idle servers are looked for only every few seconds.
SHORTEST_TIMEOUT_S = 60
VOLUME_FIELDS = ("username", "safe_username", "raw_username", "servername", "raw_servername")


@rule("hub_default_environment", "images_environments")
def default_environment(value: str, environments: list[Mapping[str, Any]]) -> Findings:
    """The preselected environment must be in the catalogue."""
    slugs = [str(entry.get("slug")) for entry in environments]
    if value not in slugs:
        advice = did_you_mean(value, slugs, f"choose one of: {', '.join(slugs) or '(images_environments is empty)'}")
        yield Finding(f"is not in images_environments: {shown(value)}", advice)


@rule("hub_volume_name_template")
def volume_template(value: str) -> Findings:
    """A home belongs to one user, and the Hub knows only these fields."""
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
            else "lacks {servername}, but each named server has its own home"
        )
        yield Finding(fact, "make hub_named_servers_share_home agree with the template")


@rule("hub_server_tmp_mb", "hub_server_memory_mb")
def server_tmp(value: int, memory: int) -> Findings:
    """A program that fills /tmp would be killed for lack of memory instead of getting "no space left"."""
    if value >= memory:
        yield Finding(
            f"takes all of a server's memory: /tmp is kept in memory (hub_server_memory_mb: {memory})",
            f"lower it to {memory // 2} or less, or leave it out for half of the memory",
        )


def too_short(seconds: Any, about: str = "") -> Findings:
    """Yield a finding if this is shorter than any timeout may be."""
    if is_int(seconds) and seconds != 0 and seconds < SHORTEST_TIMEOUT_S:
        advice = f"give seconds, at least {SHORTEST_TIMEOUT_S} (an hour is 3600), or 0 for never"
        yield Finding(f"is out of range: {shown(seconds)}", advice, about)


@rule("hub_idle_timeout_s")
def idle_timeout(seconds: int) -> Findings:
    """Servers report their activity only every few seconds."""
    yield from too_short(seconds)


@rule("hub_max_age_s")
def max_age(seconds: int) -> Findings:
    """A server must not be stopped while it is still starting."""
    yield from too_short(seconds)


@rule("images_environments")
def idle_timeouts_of_environments(environments: list[Mapping[str, Any]]) -> Findings:
    """As hub_idle_timeout_s."""
    for index, entry in enumerate(environments):
        about = f"images_environments[{index}] (slug {shown(entry.get('slug'))}).idle_timeout_s"
        yield from too_short(entry.get("idle_timeout_s"), about)


@rule("hub_server_environment")
def server_environment(variables: Mapping[str, Any]) -> Findings:
    """Docker must accept them as environment variables."""
    for variable, value in variables.items():
        about = f"hub_server_environment.{variable}"
        if not ENVIRONMENT_NAME.fullmatch(variable):
            yield Finding(
                "is not a valid environment variable name", "use letters, digits and underscores, no digit first", about
            )
        if not isinstance(value, str):
            yield Finding("is not a string", "put the value in quotes", about)
