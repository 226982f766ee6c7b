"""Scopes of OAuth apps: which others each includes, and its description for users."""

from __future__ import annotations

from collections.abc import Iterable

# «Scopes for OAuth apps», those about accounts and organizations.
HELD = {
    "repo": set[str](),
    "admin:org": {"write:org", "read:org"},
    "write:org": {"read:org"},
    "read:org": set[str](),
    "user": {"read:user", "user:email", "user:follow"},
    "read:user": set[str](),
    "user:email": set[str](),
    "user:follow": set[str](),
}

DESCRIBED = {
    "repo": "Full control of private repositories",
    "admin:org": "Full control of orgs and teams",
    "write:org": "Read and write org and team membership",
    "read:org": "Read org and team membership",
    "user": "Update all user data",
    "read:user": "Read all user profile data",
    "user:email": "Access user email addresses (read-only)",
    "user:follow": "Follow and unfollow users",
}

ORGANIZATIONS = frozenset({"admin:org", "read:org", "repo", "user", "write:org"})
"""Each of these gives access to the memberships of the token's owner."""

TEAMS = frozenset({"admin:org", "read:org", "write:org"})
EMAILS = frozenset({"user", "user:email"})


def normalized(asked: str | Iterable[str]) -> frozenset[str]:
    """Return the scopes that GitHub stores for the requested ones: unknown and implied ones are dropped."""
    names = asked.replace(",", " ").split() if isinstance(asked, str) else asked
    known = {name for name in names if name in HELD}
    return frozenset(known - {held for name in known for held in HELD[name]})


def covered(asked: Iterable[str], granted: Iterable[str]) -> bool:
    """Whether the granted scopes include all that are requested."""
    return set(asked) <= {held for name in granted for held in (name, *HELD[name])}
