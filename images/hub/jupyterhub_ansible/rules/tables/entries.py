"""What lists of entries with slugs have in common; and those for people, by group or name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..github import wrong_group, wrong_login
from ..problems import Finding, shown
from ..registry import Findings

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SLUG_LENGTH = 30
Entry = Mapping[str, Any]


def numbered(setting: str, entries: list[Entry]) -> Iterator[tuple[str, Entry]]:
    """Yield each entry with what a message calls it."""
    return ((f"{setting}[{index}] (slug {shown(each.get('slug'))})", each) for index, each in enumerate(entries))


def wrong_slugs(setting: str, entries: list[Entry], noun: str) -> Findings:
    """Yield the slugs that cannot be part of names, and those that are used twice."""
    for about, entry in numbered(setting, entries):
        slug = str(entry.get("slug"))
        if not SLUG.fullmatch(slug) or len(slug) > SLUG_LENGTH:
            advice = f"use at most {SLUG_LENGTH} lower-case letters and digits, joined by single hyphens"
            yield Finding("the slug cannot be part of a volume's name", advice, about)
    for slug, count in Counter(str(entry.get("slug")) for entry in entries).items():
        if count > 1:
            yield Finding(f"the slug {shown(slug)} is used {count} times", f"give every {noun} a unique slug")


def wrong_people(
    about: str, entry: Entry, groups: tuple[str, ...], users: tuple[str, ...], *, github: bool
) -> Findings:
    """Yield the groups and users under these keys that match nobody."""
    for key in groups:
        for group in entry.get(key) or []:
            if wrong := wrong_group(group, github=github):
                yield Finding(f"{key}: {wrong[0]}: {shown(group)}", wrong[1], about)
    for key in users:
        for user in entry.get(key) or []:
            if github and (fix := wrong_login(user)):
                yield Finding(f"{key}: is not a GitHub login name: {shown(user)}", fix, about)
            elif user != user.strip():
                advice = f"write {shown(user.strip())}"
                yield Finding(f"{key}: has leading or trailing spaces: {shown(user)}", advice, about)
