"""Rules for `hub_workspaces`: servers that their members use together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..github import wrong_group, wrong_login
from ..problems import Finding, did_you_mean, shown
from ..registry import Findings, Rules
from .catalogue import SLUG, SLUG_LENGTH
from .servers import too_short

rule = Rules()

Entry = Mapping[str, Any]
GROUPS, USERS = ("groups", "start_groups"), ("users", "start_users")


def _all(workspaces: list[Entry]) -> Iterator[tuple[str, Entry]]:
    return (
        (f"hub_workspaces[{index}] (slug {shown(each.get('slug'))})", each) for index, each in enumerate(workspaces)
    )


@rule("hub_workspaces")
def slugs(workspaces: list[Entry]) -> Findings:
    """Slugs become part of the names of accounts and volumes."""
    for about, entry in _all(workspaces):
        slug = str(entry.get("slug"))
        if not SLUG.fullmatch(slug) or len(slug) > SLUG_LENGTH:
            advice = f"use at most {SLUG_LENGTH} lower-case letters and digits, joined by single hyphens"
            yield Finding("the slug cannot be part of a volume's name", advice, about)
    for slug, count in Counter(str(entry.get("slug")) for entry in workspaces).items():
        if count > 1:
            yield Finding(f"the slug {shown(slug)} is used {count} times", "give every workspace a unique slug")


@rule("hub_workspaces", "images_environments")
def environment_and_size(workspaces: list[Entry], environments: list[Entry]) -> Findings:
    """A server of ours closes the connections of users who are members no more; one of another image may not."""
    by_slug = {str(each.get("slug")): each for each in environments}
    for about, entry in _all(workspaces):
        slug, size = str(entry.get("environment")), entry.get("size")
        if not (environment := by_slug.get(slug)):
            advice = did_you_mean(slug, by_slug, f"choose one of: {', '.join(by_slug) or '(there is none)'}")
            yield Finding(f"environment is not in images_environments: {shown(slug)}", advice, about)
            continue
        # In hub.json every environment has an image, and those that are built here tell their activity.
        if environment.get("image") and not environment.get("tells_activity"):
            yield Finding(
                f"the environment {shown(slug)} is a ready image: its servers may not end former members' connections",
                "choose an environment that is built here (packages or a Dockerfile)",
                about,
            )
        sizes = [str(each.get("slug")) for each in environment.get("sizes") or []]
        if size is not None and size not in sizes:
            advice = did_you_mean(str(size), sizes, f"choose one of: {', '.join(sizes)}" if sizes else "remove size")
            yield Finding(f"the environment {shown(slug)} has no size {shown(size)}", advice, about)


@rule("hub_workspaces", "hub_authenticator")
def members(workspaces: list[Entry], authenticator: str) -> Findings:
    """A workspace for nobody, or a name that matches nobody, is a mistake."""
    github = authenticator == "github"
    for about, entry in _all(workspaces):
        if not any(entry.get(key) for key in (*GROUPS, *USERS)):
            yield Finding("has no members", "add groups or users", about)
        for key in GROUPS:
            for group in entry.get(key) or []:
                if wrong := wrong_group(group, github=github):
                    yield Finding(f"{key}: {wrong[0]}: {shown(group)}", wrong[1], about)
        for key in USERS:
            for user in entry.get(key) or []:
                if github and (fix := wrong_login(user)):
                    yield Finding(f"{key}: is not a GitHub login name: {shown(user)}", fix, about)
                elif user != user.strip():
                    advice = f"write {shown(user.strip())}"
                    yield Finding(f"{key}: has leading or trailing spaces: {shown(user)}", advice, about)


@rule("hub_workspaces")
def idle_timeouts(workspaces: list[Entry]) -> Findings:
    """As hub_idle_timeout_s."""
    for about, entry in _all(workspaces):
        yield from too_short(entry.get("idle_timeout_s"), f"{about}.idle_timeout_s")
