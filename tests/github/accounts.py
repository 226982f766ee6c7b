"""Accounts: users, and organizations with their members and teams."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

LOGIN = re.compile(r"(?=.{1,39}$)[a-z0-9]+(-[a-z0-9]+)*(_[a-z0-9]+)?", re.IGNORECASE)
"""Managed users of an enterprise have an underscore."""


def node_id(kind: str, number: int) -> str:
    """Return the identifier that GitHub's GraphQL API uses."""
    return base64.b64encode(f"{len(kind):03}:{kind}{number}".encode()).decode()


@dataclass
class User:
    """A person's account. The login may change hands; the id never does."""

    id: int
    login: str
    name: str | None = None
    email: str = ""
    email_public: bool = False


@dataclass
class Membership:
    """The membership of a user in an organization."""

    public: bool = False
    """Visible to everybody; otherwise to members only."""

    pending: bool = False
    """Invited, but not accepted yet."""


@dataclass
class Team:
    """A team of an organization; users who are only invited to the organization are pending here as well."""

    id: int
    name: str
    members: set[int] = field(default_factory=set)

    @property
    def slug(self) -> str:
        """The team's name in URLs."""
        return re.sub(r"[^a-z0-9_]+", "-", self.name.lower()).strip("-")


@dataclass
class Organization:
    """An organization, with its members by their ids and its teams by their slugs."""

    id: int
    login: str
    members: dict[int, Membership] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
    restricts_apps: bool = False
    """Only OAuth apps that an owner approved have access."""

    approved_apps: set[str] = field(default_factory=set)

    def admits(self, client_id: str) -> bool:
        """Whether an OAuth app has access to the organization."""
        return not self.restricts_apps or client_id in self.approved_apps

    def has(self, user: User, publicly: bool = False) -> bool:
        """Whether a user is a member."""
        membership = self.members.get(user.id)
        return membership is not None and not membership.pending and (membership.public or not publicly)
