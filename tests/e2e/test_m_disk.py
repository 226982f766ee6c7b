"""A disk or home that is full: what is refused, what is said, and how users make room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.browser import accessibility_faults, as_user, browser, shoot
from e2e.client import StartError, User, eventually
from e2e.deployment import LABEL, Deployment, docker
from playwright.sync_api import expect

EVERYTHING_MB = 1024**3
FULL_MB = 8
TEXT = "mine" * 100_000


@pytest.fixture(scope="module")
def nearly_full(deployment: Deployment) -> Iterator[User]:
    """A Hub that keeps more free than the disk has, and a user whose server runs since before."""
    deployment.run().succeeded()
    user = User(deployment.url, "una", deployment.secret("user_password"))
    user.login().raise_for_status()
    user.server().start("base")
    user.server().write("notes.txt", TEXT)
    deployment.run(settings={"hub_reserve_disk_mb": EVERYTHING_MB}).succeeded()
    yield user
    deployment.run().succeeded()
    for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
        docker("rm", "--force", name)


def test_servers_go_on_and_start_only_to_delete_files(deployment: Deployment, nearly_full: User) -> None:
    user = nearly_full
    assert user.server().read("notes.txt") == TEXT
    user.server().stop()
    with pytest.raises(StartError, match="nearly full, so servers start only to delete files"):
        user.server().start("base")
    with browser() as context:
        page = as_user(context, user)
        page.goto(f"{deployment.url}/hub/home")
        expect(page.get_by_role("alert").filter(has_text="The machine's disk is nearly full")).to_be_visible()
        assert accessibility_faults(page, "serious", "critical") == []
        shoot(page, "disk-1-home")
        page.get_by_role("button", name="Start to delete files: Default server").click()
        page.get_by_role("link", name="Open Default server").click()
        page.get_by_role("menuitem", name="File", exact=True).click()
        page.get_by_role("menuitem", name="Disk Usage").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("Your files take")).to_be_visible()
        expect(dialog.get_by_role("cell", name="notes.txt", exact=True)).to_be_visible()
        shoot(page, "disk-2-usage")
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_have_count(0)
    user.server().open().raise_for_status()
    user.server().request("DELETE", "api/contents/notes.txt")


def test_administrators_see_it(deployment: Deployment, nearly_full: User) -> None:
    admin = User(deployment.url, "admin", deployment.secret("admin_password"))
    admin.login().raise_for_status()
    assert "less than hub_reserve_disk_mb" in admin.request("GET", "/hub/admin/servers").text


def test_server_with_a_full_home_starts_and_lets_its_user_delete_files(deployment: Deployment) -> None:
    deployment.run().succeeded()
    options = ["type=tmpfs", "device=tmpfs", f"o=size={FULL_MB}m,uid=1000,gid=1000"]
    labels = {LABEL: deployment.name, "jupyterhub-ansible.kind": "home", "jupyterhub-ansible.user": "olaf"}
    arguments = [f"--opt={option}" for option in options] + [f"--label={key}={text}" for key, text in labels.items()]
    volume = docker("volume", "create", *arguments, f"{deployment.name}-user-olaf")
    # A file system in memory lasts as long as something uses it.
    image = docker("image", "ls", "--quiet", "--filter", "label=jupyterhub-ansible.kind=hub").split()[0]
    fill = "dd if=/dev/zero of=/home/big bs=64k; sleep infinity"
    holder = f"{deployment.name}-holds-a-full-home"
    run = ("run", "--detach", "--name", holder, "--network", "none", "--user", "1000", "--volume", f"{volume}:/home")
    docker(*run, "--entrypoint", "sh", image, "-c", fill)
    try:
        eventually("a full home", lambda: docker("exec", holder, "df", "--output=avail", "/home").split()[-1] == "0")
        user = User(deployment.url, "olaf", deployment.secret("user_password"))
        user.login().raise_for_status()
        server = user.server()
        server.start("base")
        assert server.run("1 + 1").result == "2"
        with pytest.raises(AssertionError, match=": 500 "):
            server.write("new.txt", "x" * 100_000)
        found = server.request("GET", "jupyterhub-disk").json()
        assert (found["free"], found["largest"][0]["path"]) == (0, "big")
        server.request("DELETE", "api/contents/big")
        server.write("new.txt", "there is room")
        assert server.read("new.txt") == "there is room"
        server.stop()
    finally:
        docker("rm", "--force", holder)
        docker("volume", "rm", "--force", volume)
