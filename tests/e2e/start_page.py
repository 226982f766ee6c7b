"""The catalogue, users and steps of the tests of the start page."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import yaml
from e2e.client import Server, User
from e2e.deployment import ARTEFACTS, CATALOGUE, SETTINGS, Deployment
from playwright.sync_api import BrowserContext, Page, expect

SIZES = [
    {"slug": "small", "memory_mb": 640, "cpus": 0.5},
    {"slug": "large", "title": "Large", "memory_mb": 1280, "cpus": 2},
]
NAME = SETTINGS["jupyterhub_name"]
STAFF = "staff"
MB = 1024**2
FOLDER = ARTEFACTS / "mounted"
# Next to the Hub's (inventory.yml).
REGISTRY_PORT = 18081


def catalogue() -> list[dict[str, Any]]:
    """Return the built-in catalogue with sizes for base, and a profile that is only for a group."""
    base, *others = CATALOGUE
    restricted = {
        "slug": "restricted",
        "title": "Staff's own",
        "description": "With the data that not everybody may see.",
        "image_of": "base",
        "groups": [STAFF],
        "environment": {"DATA_FOLDER": "/data", "MINE": "of {username}"},
        # Volumes on folders that are root's in the image.
        "mounts": [
            {"source": str(FOLDER), "target": "/data"},
            {"source": f"{NAME}-shared", "target": "/media", "read_only": False},
            {"source": f"{NAME}-of-{{username}}", "target": "/mnt", "read_only": False},
        ],
    }
    return [{**base, "sizes": SIZES}, *others, restricted]


@dataclass
class Place:
    """The Hub with this catalogue, and its administrator."""

    deployment: Deployment
    admin: User
    settings: dict[str, Any]

    def add_to_group(self, *users: str) -> None:
        """Add users to the group; create those that the Hub does not know."""
        self.admin.api("POST", "users", json={"usernames": list(users)})
        self.admin.api("POST", f"groups/{STAFF}")
        self.admin.api("POST", f"groups/{STAFF}/users", json={"users": list(users)}).raise_for_status()

    def remove_from_group(self, *users: str) -> None:
        """Remove users from the group."""
        self.admin.api("DELETE", f"groups/{STAFF}/users", json={"users": list(users)}).raise_for_status()

    def image(self, slug: str) -> str:
        """Return the reference of a built-in environment's image."""
        settings = yaml.safe_load((self.deployment.root / "hub/hub.json").read_text())
        return str(next(each["image"] for each in settings["images_environments"] if each["slug"] == slug))


def open_start_page(context: BrowserContext, user: User) -> Page:
    """Log in, which leads to the start page."""
    page = context.new_page()
    page.goto(user.hub_url)
    page.get_by_label("Username").fill(user.name)
    page.locator("#password_input").fill(user.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Choose an environment")).to_be_visible()
    return page


class Working(threading.Thread):
    """A user who runs cells all the time in one kernel; errors are kept."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.ended = threading.Event()
        self.count = 0
        self.errors: list[str] = []

    def run(self) -> None:
        try:
            with self.server.kernel() as kernel:
                while not self.ended.wait(0.1):
                    assert kernel.execute(f"{self.count} + 1").result == str(self.count + 1)
                    self.count += 1
        except Exception as error:
            self.errors.append(repr(error))
