"""Rules for `hub_workspaces`: servers that their members use together."""

from __future__ import annotations

from ..problems import Finding, did_you_mean, shown
from ..registry import Findings, Rules
from .entries import Entry, numbered, wrong_people, wrong_slugs
from .servers import too_short

rule = Rules()

SETTING = "hub_workspaces"
GROUPS, USERS = ("groups", "start_groups"), ("users", "start_users")


@rule(SETTING)
def slugs(workspaces: list[Entry]) -> Findings:
    """Slugs become part of the names of accounts and volumes."""
    yield from wrong_slugs(SETTING, workspaces, "workspace")


@rule(SETTING, "images_environments")
def environment_and_size(workspaces: list[Entry], environments: list[Entry]) -> Findings:
    """A server of ours closes the connections of users who are members no more; one of another image may not."""
    by_slug = {str(each.get("slug")): each for each in environments}
    for about, entry in numbered(SETTING, workspaces):
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


@rule(SETTING, "hub_authenticator")
def members(workspaces: list[Entry], authenticator: str) -> Findings:
    """A workspace for nobody, or a name that matches nobody, is a mistake."""
    for about, entry in numbered(SETTING, workspaces):
        if not any(entry.get(key) for key in (*GROUPS, *USERS)):
            yield Finding("has no members", "add groups or users", about)
        yield from wrong_people(about, entry, GROUPS, USERS, github=authenticator == "github")


@rule(SETTING)
def idle_timeouts(workspaces: list[Entry]) -> Findings:
    """As hub_idle_timeout_s."""
    for about, entry in numbered(SETTING, workspaces):
        yield from too_short(entry.get("idle_timeout_s"), f"{about}.idle_timeout_s")
