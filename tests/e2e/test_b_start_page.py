"""The page between login and notebook, and what its choices give: as people see it in Chromium, and by the REST API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import yaml
from e2e.browser import accessibility_faults, browser, run_a_notebook_in_marimo, shoot
from e2e.client import NewUser, Server, StartError, User, eventually
from e2e.deployment import ARTEFACTS, CATALOGUE, SETTINGS, Deployment, docker
from e2e.registry import random_layer, registry, saved
from playwright.sync_api import BrowserContext, Page, expect

SIZES = [
    {"slug": "small", "memory_mb": 640, "cpus": 0.5},
    {"slug": "large", "title": "Large", "memory_mb": 1280, "cpus": 2},
]
STAFF = "staff"
MB = 1024**2
FOLDER = ARTEFACTS / "mounted"
# Beside the Hub's (inventory.yml).
REGISTRY_PORT = 18081


def catalogue() -> list[dict[str, Any]]:
    """The built-in one, with sizes for base, and a profile that is for some only."""
    base, *others = CATALOGUE
    restricted = {
        "slug": "restricted",
        "title": "Staff's own",
        "description": "With the data that not everybody may see.",
        "image_of": "base",
        "groups": [STAFF],
        "environment": {"DATA_FOLDER": "/data"},
        "mounts": [{"source": str(FOLDER), "target": "/data"}],
    }
    return [{**base, "sizes": SIZES}, *others, restricted]


@dataclass
class Place:
    """The Hub with that catalogue, and its administrator."""

    deployment: Deployment
    admin: User
    settings: dict[str, Any]

    def let_in(self, *users: str) -> None:
        """Make users, known to the Hub or not, members of the group."""
        self.admin.api("POST", "users", json={"usernames": list(users)})
        self.admin.api("POST", f"groups/{STAFF}")
        self.admin.api("POST", f"groups/{STAFF}/users", json={"users": list(users)}).raise_for_status()

    def put_out(self, *users: str) -> None:
        """Take users out of it."""
        self.admin.api("DELETE", f"groups/{STAFF}/users", json={"users": list(users)}).raise_for_status()

    def image(self, slug: str) -> str:
        """Return the reference of a built-in environment's image."""
        settings = yaml.safe_load((self.deployment.root / "hub/hub.json").read_text())
        return str(next(each["image"] for each in settings["images_environments"] if each["slug"] == slug))


@pytest.fixture
def newcomer(new_user: NewUser) -> NewUser:
    """Log in users whom the Hub has never seen: in a deployment that was kept, others have a last choice."""
    return lambda name: new_user(f"{name}-{token_hex(2)}")


@pytest.fixture(scope="module")
def place(deployment: Deployment) -> Place:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "data.txt").write_text("from the machine")
    settings = {
        "images_environments": catalogue(),
        # The second is a registry that nobody runs: the port of discard.
        "hub_free_images": {STAFF: [f"{deployment.name}/env-*", "127.0.0.1:9/*", f"127.0.0.1:{REGISTRY_PORT}/*"]},
    }
    deployment.run(settings=settings).succeeded()
    admin = User(deployment.url, "admin", deployment.secret("admin_password"))
    admin.login().raise_for_status()
    return Place(deployment, admin, settings)


def open_start_page(context: BrowserContext, user: User) -> Page:
    """Log in, which leads there."""
    page = context.new_page()
    page.goto(user.hub_url)
    page.get_by_label("Username").fill(user.name)
    page.locator("#password_input").fill(user.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Choose an environment")).to_be_visible()
    return page


# --- the page


@pytest.mark.parametrize(
    ("look", "width", "dark"),
    [("light", 1280, False), ("dark", 1280, True), ("phone", 375, False), ("small", 320, True)],
)
def test_everybody_can_use_the_page(place: Place, new_user: NewUser, look: str, width: int, dark: bool) -> None:
    place.let_in("looker")
    user = new_user("looker")
    with browser(width=width, height=700, dark=dark) as context:
        page = open_start_page(context, user)
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark" if dark else "light")
        shoot(page, f"start-page-{look}")
        assert accessibility_faults(page, "minor", "moderate", "serious", "critical") == []
        # Nothing sticks out, and the button is there without scrolling.
        assert page.evaluate("document.documentElement.scrollWidth") == width
        expect(page.get_by_role("button", name="Start")).to_be_in_viewport()
        for card in catalogue():
            expect(page.get_by_role("radio", name=card["title"], exact=True)).to_be_visible()
        # What has the focus is not hidden below the button, either.
        page.get_by_role("textbox", name="Image").focus()
        page.wait_for_function(
            "() => document.activeElement.getBoundingClientRect().bottom"
            " <= document.querySelector('button[type=submit]').getBoundingClientRect().top"
        )
        page.get_by_role("group", name="Environment").locator("summary").first.click()
        shoot(page, f"start-page-{look}-unfolded")
        assert accessibility_faults(page, "minor", "moderate", "serious", "critical") == []


@pytest.mark.parametrize("dark", [False, True])
def test_no_serious_fault_on_the_pages_around_it(place: Place, new_user: NewUser, dark: bool) -> None:
    user = new_user("looker")
    with browser(dark=dark) as context:
        page = context.new_page()
        page.goto(user.hub_url)
        expect(page.get_by_label("Username")).to_be_visible()
        assert accessibility_faults(page, "serious", "critical") == []
        page.close()
        page = open_start_page(context, user)
        for path in ("home", "token"):
            page.goto(f"{user.hub_url}/hub/{path}")
            assert accessibility_faults(page, "serious", "critical") == []


def test_versions_are_those_of_the_image(place: Place, new_user: NewUser) -> None:
    user = new_user("versions")
    page = user.server().spawn_page().text
    user.server().start("datascience")
    code = "import sys, platform; from importlib.metadata import version; "
    code += "print(platform.python_version(), *(version(name) for name in ('jupyterlab', 'marimo', 'polars')))"
    versions = user.server().run(code).stdout.split()
    for name, version in zip(("Python", "JupyterLab", "marimo", "polars"), versions, strict=True):
        assert f'{name} <span class="version">{version}</span>' in page


def test_with_the_keyboard_alone(place: Place, newcomer: NewUser) -> None:
    user = newcomer("keys")
    with browser() as context:
        page = open_start_page(context, user)
        page.get_by_role("radio", name=CATALOGUE[0]["title"], exact=True).focus()
        # From card to card by arrows, into the sizes by the tabulator; Enter sends the form.
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("radio", name="Data science", exact=True)).to_be_checked()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("radio", name="Large: 1.25 GB memory, 2 processors")).to_be_checked()
        page.keyboard.press("Enter")
        expect(page.locator(".jp-Launcher")).to_be_visible()
    assert place.deployment.server(user.name)["HostConfig"]["Memory"] == 1280 * MB


def test_one_click_starts_the_last_choice(place: Place, newcomer: NewUser) -> None:
    user = newcomer("again")
    with browser() as context:
        page = open_start_page(context, user)
        # A size chooses its card.
        page.get_by_role("radio", name="Data science", exact=True).check()
        page.get_by_text("Large: 1.25 GB").click()
        expect(page.get_by_role("radio", name=CATALOGUE[0]["title"], exact=True)).to_be_checked()
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".jp-Launcher")).to_be_visible()
        user.server().stop()
        page.goto(f"{user.hub_url}/hub/spawn")
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".jp-Launcher")).to_be_visible()
    container = place.deployment.server(user.name)
    assert container["HostConfig"]["Memory"] == container["HostConfig"]["MemorySwap"] == 1280 * MB
    assert container["HostConfig"]["CpuQuota"] == 200_000
    model = user.api("GET", f"users/{user.name}").json()["servers"][""]
    assert model["user_options"] == {"profile": "base", "size": "large"}


# --- profiles


def test_marimo_first(place: Place, newcomer: NewUser) -> None:
    """The server's first page is marimo's, with the packages of the image."""
    user = newcomer("reactive")
    with browser() as context:
        page = open_start_page(context, user)
        page.get_by_role("radio", name="marimo", exact=True).check()
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_text("Create a new notebook")).to_be_visible()
        assert page.url.removeprefix(user.hub_url).startswith(f"/user/{user.name}/marimo/")
        shoot(page, "marimo-first")
        notebook = run_a_notebook_in_marimo(page, context)
        shoot(notebook, "marimo-first-notebook")
    assert place.deployment.server(user.name)["Config"]["Image"] == place.image("datascience")


def by_link(server: Server) -> None:
    server.user.request("GET", f"/hub/spawn/{server.user.name}?opt-profile=restricted").raise_for_status()
    server.wait_until_ready()


@pytest.mark.parametrize(
    "begin",
    [lambda server: server.start_by_form("restricted"), by_link, lambda server: server.start("restricted")],
    ids=["form", "link", "api"],
)
def test_what_a_restricted_profile_gives(place: Place, new_user: NewUser, begin: Callable[[Server], None]) -> None:
    place.let_in("member")
    server = new_user("member").server()
    begin(server)
    look = "import os; print(os.environ['DATA_FOLDER'], open('/data/data.txt').read(), os.access('/data', os.W_OK))"
    assert server.run(look).stdout == "/data from the machine False\n"


def test_whoever_is_not_in_the_group_neither_sees_nor_gets_it(place: Place, newcomer: NewUser) -> None:
    user = newcomer("outsider")
    server = user.server()
    page = server.spawn_page().text
    assert page.count('name="profile"') == len(catalogue()) - 1
    assert "restricted" not in page
    assert "Staff" not in page
    known = "There is no environment of that name. Choose one of: base, datascience, marimo."
    link = user.request("GET", f"/hub/spawn/{user.name}?opt-profile=restricted")
    form = user.request("POST", f"/hub/spawn/{user.name}", files={"profile": (None, "restricted")})
    assert [answer.status_code for answer in (link, form)] == [400, 400]
    assert known in link.text
    assert known in form.text
    # The same words for what does not exist.
    for slug in ("restricted", "no-such-thing"):
        with pytest.raises(StartError, match=known):
            server.start(slug)
    with pytest.raises(StartError, match=r"no size of that name\. Choose one of: small, large"):
        start(server, {"profile": "base", "size": "huge"})
    with pytest.raises(StartError, match="Unknown option: image"):
        start(server, {"image": place.image("base")})
    assert not place.deployment.containers(f"label=jupyterhub-ansible.user={user.name}")


def start(server: Server, options: dict[str, Any] | None) -> None:
    """Start by the REST API with any options."""
    body = {} if options is None else {"user_options": options}
    answer = server.user.api("POST", f"users/{server.user.name}/server", json=body)
    if answer.status_code not in (201, 202):
        raise StartError(answer.json().get("message", answer.text))
    server.wait_until_ready()


def test_who_leaves_the_group_is_told_and_gets_the_default(place: Place, new_user: NewUser) -> None:
    place.let_in("leaver")
    user = new_user("leaver")
    start(user.server(), {"profile": "restricted"})
    place.put_out("leaver")
    user.server().stop()
    told = (
        "The environment restricted, which you used last, is no longer offered: JupyterLab and marimo takes its place."
    )
    with browser() as context:
        page = open_start_page(context, user)
        expect(page.get_by_role("alert")).to_have_text(told)
        expect(page.get_by_role("radio").first).to_be_checked()
        shoot(page, "start-page-notice")
        assert accessibility_faults(page, "serious", "critical") == []
    # Not a failure: the start without a choice goes on, and says what it took.
    request = threading.Thread(target=user.api, args=("POST", "users/leaver/server"))
    request.start()
    eventually("the start", lambda: bool(user.api("GET", "users/leaver").json()["servers"]))
    assert told in [event.get("message") for event in user.server().progress()]
    request.join()
    container = place.deployment.server("leaver")
    assert container["Config"]["Image"] == place.image("base")
    assert [mount["Destination"] for mount in container["Mounts"]] == ["/home/jovyan"]


@pytest.mark.parametrize(
    "stored", [{"profile": "gone"}, {"profile": "base", "size": "gone"}, {"image": "evil:1"}, {"x": []}]
)
def test_whatever_is_stored_the_next_start_works(place: Place, new_user: NewUser, stored: dict[str, Any]) -> None:
    user = new_user("stored")
    user.server().spawn_page()
    user.api("PATCH", "users/stored/servers/", json={"user_options": stored}).raise_for_status()
    start(user.server(), None)
    assert place.deployment.server("stored")["Config"]["Image"] == place.image("base")


def test_an_image_that_a_member_names(place: Place, new_user: NewUser) -> None:
    place.let_in("namer")
    user = new_user("namer")
    with browser() as context:
        page = open_start_page(context, user)
        page.get_by_role("textbox", name="Image").fill("docker.io/evil/image:1")
        expect(page.get_by_role("radio", name="An image of your own")).to_be_checked()
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".spawn-error-msg")).to_contain_text("That image is not allowed.")
        page.get_by_role("textbox", name="Image").fill(place.image("base"))
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".jp-Launcher")).to_be_visible()
    assert place.deployment.server("namer")["Config"]["Image"] == place.image("base")
    model = user.api("GET", "users/namer").json()["servers"][""]
    assert model["user_options"] == {"image": place.image("base")}


def test_an_image_that_is_pulled(place: Place, newcomer: NewUser, tmp_path: Path) -> None:
    user = newcomer("puller")
    place.let_in(user.name)
    # What another test left on the machine is not fetched again: the last layer is new.
    image = saved(place.image("base"), tmp_path / "base.tar").with_layer(random_layer(tmp_path / "new.tar", 50))
    try:
        # Slower than the Hub's answer to the request, which waits ten seconds for the start: progress is seen after it.
        with registry(image, REGISTRY_PORT, bytes_per_s=3 * 10**6) as server:
            user.api("POST", f"users/{user.name}/server", json={"user_options": {"image": server.reference}})
            events = [(event["progress"], event["message"]) for event in user.server().progress()]
        messages = [message for _, message in events]
        fetching = [message for message in messages if message.startswith("Fetching the environment: ")]
        assert len(fetching) > 3
        assert fetching[-1] == "Fetching the environment: 100 %"
        assert messages.index("Creating the container of your server") > messages.index(fetching[-1])
        assert [percent for percent, _ in events] == sorted(percent for percent, _ in events)
        user.server().open().raise_for_status()
        assert user.server().run("import os; os.path.getsize('/opt/content')").result == str(50 * 10**6)
    finally:
        user.server().stop()
        docker("rmi", server.reference)


def test_an_image_that_cannot_be_pulled(place: Place, new_user: NewUser) -> None:
    place.let_in("namer")
    with pytest.raises(
        StartError, match=r"The image 127\.0\.0\.1:9/nowhere:1 could not be pulled: .*connection refused"
    ):
        start(new_user("namer").server(), {"image": "127.0.0.1:9/nowhere:1"})


def test_an_image_that_runs_as_root_by_another_name(place: Place, new_user: NewUser, tmp_path: Path) -> None:
    place.let_in("namer")
    image = f"{place.deployment.name}/env-root:1"
    (tmp_path / "Dockerfile").write_text(f"FROM {place.image('base')}\nUSER root\nRUN useradd -ou 0 ann\nUSER ann\n")
    docker("build", "--quiet", "--tag", image, str(tmp_path))
    try:
        with pytest.raises(StartError, match=rf"The image {image} runs as root \(ann\).* USER 1000"):
            start(new_user("namer").server(), {"image": image})
    finally:
        docker("rmi", image)


# --- while users work


class Working(threading.Thread):
    """Somebody who runs cells all the time, in one kernel; what went wrong is kept."""

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


@pytest.fixture
def at_work(place: Place, new_user: NewUser) -> Iterator[Callable[[], None]]:
    """Yield the question whether somebody was disturbed."""
    user = new_user("worker")
    user.server().start("base")
    before = place.deployment.server("worker")["State"]["StartedAt"]
    working = Working(user.server())
    working.start()

    def undisturbed() -> None:
        assert working.errors == []
        assert place.deployment.server("worker")["State"]["StartedAt"] == before
        done = working.count
        time.sleep(2)
        assert working.count > done

    yield undisturbed
    working.ended.set()
    working.join(30)


def one_more(place: Place, **entry: Any) -> dict[str, Any]:
    return {**place.settings, "images_environments": [*catalogue(), {"title": entry["slug"], **entry}]}


def test_a_broken_environment_is_refused_while_somebody_works(
    place: Place, new_user: NewUser, at_work: Callable[[], None], tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nUSER root\nRUN rm -r /opt/jupyter\nUSER jovyan\n")
    before = place.deployment.state()
    run = place.deployment.run(settings=one_more(place, slug="hollow", dockerfile=str(tmp_path)))
    assert run.code == 2
    assert "The image env-hollow was not made" in run.output
    assert place.deployment.state() == before
    at_work()
    assert 'value="hollow"' not in new_user("offered").server().spawn_page().text


def test_a_new_environment_is_there_while_somebody_works(
    place: Place, new_user: NewUser, at_work: Callable[[], None]
) -> None:
    settings = one_more(place, slug="cows", description="Cows that talk.", pip=["cowsay"])
    run = place.deployment.run(settings=settings).succeeded()
    at_work()
    # It was tried before it was offered.
    assert "Testing the image: " in (place.deployment.root / "builds/env-cows.log").read_text()
    server = new_user("offered").server()
    assert 'value="cows"' in server.spawn_page().text
    assert "cowsay" in server.spawn_page().text
    server.start("cows")
    assert "moo" in server.run("import cowsay; print(cowsay.get_output_string('cow', 'moo'))").stdout
    # A second run finds all as it is.
    assert place.deployment.run(settings=settings).succeeded().changed == 0
    assert run.changed > 0
    assert SETTINGS["jupyterhub_name"] in place.image("cows")
