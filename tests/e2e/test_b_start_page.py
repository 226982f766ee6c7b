"""The start page, where users choose an environment, and what their choices give: in Chromium and by the REST API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from e2e.browser import accessibility_faults, browser, run_a_notebook_in_marimo, shoot
from e2e.client import NewUser, Server, StartError, User, eventually
from e2e.deployment import CATALOGUE, SETTINGS, Deployment, docker
from e2e.registry import random_layer, registry, saved
from e2e.start_page import FOLDER, MB, REGISTRY_PORT, STAFF, Place, Working, catalogue, open_start_page
from playwright.sync_api import expect


@pytest.fixture
def newcomer(new_user: NewUser) -> NewUser:
    """Log in users that the Hub has never seen: in a kept deployment, others have a last choice."""
    return lambda name: new_user(f"{name}-{token_hex(2)}")


@pytest.fixture(scope="module")
def place(deployment: Deployment) -> Place:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "data.txt").write_text("from the machine")
    settings = {
        "images_environments": catalogue(),
        "hub_traits": {"DockerSpawner": {"volumes": {f"{deployment.name}-of-all": "/srv"}}},
        # The second is a registry that does not exist: the discard port.
        "hub_free_images": {STAFF: [f"{deployment.name}/env-*", "127.0.0.1:9/*", f"127.0.0.1:{REGISTRY_PORT}/*"]},
    }
    deployment.run(settings=settings).succeeded()
    admin = User(deployment.url, "admin", deployment.secret("admin_password"))
    admin.login().raise_for_status()
    return Place(deployment, admin, settings)


# --- the page


@pytest.mark.parametrize(
    ("look", "width", "dark"),
    [("light", 1280, False), ("dark", 1280, True), ("phone", 375, False), ("small", 320, True)],
)
def test_start_page_is_accessible(place: Place, new_user: NewUser, look: str, width: int, dark: bool) -> None:
    place.add_to_group("looker")
    user = new_user("looker")
    with browser(width=width, height=700, dark=dark) as context:
        page = open_start_page(context, user)
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark" if dark else "light")
        shoot(page, f"start-page-{look}")
        assert accessibility_faults(page, "minor", "moderate", "serious", "critical") == []
        # Nothing overflows, and the button is visible without scrolling.
        assert page.evaluate("document.documentElement.scrollWidth") == width
        expect(page.get_by_role("button", name="Start")).to_be_in_viewport()
        for card in catalogue():
            expect(page.get_by_role("radio", name=card["title"], exact=True)).to_be_visible()
        # The focused element is not hidden behind the button either.
        page.get_by_role("textbox", name="Image").focus()
        page.wait_for_function(
            "() => document.activeElement.getBoundingClientRect().bottom"
            " <= document.querySelector('button[type=submit]').getBoundingClientRect().top"
        )
        page.get_by_role("group", name="Environment").locator("summary").first.click()
        shoot(page, f"start-page-{look}-unfolded")
        assert accessibility_faults(page, "minor", "moderate", "serious", "critical") == []


@pytest.mark.parametrize("dark", [False, True])
def test_other_pages_have_no_serious_accessibility_fault(place: Place, new_user: NewUser, dark: bool) -> None:
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


def test_start_page_shows_the_versions_in_the_image(place: Place, new_user: NewUser) -> None:
    user = new_user("versions")
    page = user.server().spawn_page().text
    user.server().start("datascience")
    code = "import sys, platform; from importlib.metadata import version; "
    code += "print(platform.python_version(), *(version(name) for name in ('jupyterlab', 'marimo', 'polars')))"
    versions = user.server().run(code).stdout.split()
    for name, version in zip(("Python", "JupyterLab", "marimo", "polars"), versions, strict=True):
        assert f'{name} <span class="version">{version}</span>' in page


def test_start_page_works_with_the_keyboard_alone(place: Place, newcomer: NewUser) -> None:
    user = newcomer("keys")
    with browser() as context:
        page = open_start_page(context, user)
        page.get_by_role("radio", name=CATALOGUE[0]["title"], exact=True).focus()
        # Arrow keys move between cards, Tab moves into the sizes, Enter submits the form.
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
        # Choosing a size chooses its card.
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


def test_marimo_environment_opens_marimo(place: Place, newcomer: NewUser) -> None:
    """With the packages of the image."""
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
def test_restricted_profile_has_variables_and_mounts(
    place: Place, new_user: NewUser, begin: Callable[[Server], None]
) -> None:
    place.add_to_group("member")
    server = new_user("member").server()
    begin(server)
    look = "import os; print(os.environ['DATA_FOLDER'], os.environ['MINE'], open('/data/data.txt').read())"
    assert server.run(look).stdout == "/data of member from the machine\n"
    # The volumes stay empty, and so are what they were made at each start.
    may_write = "import os; [os.access(folder, os.W_OK) for folder in ('/data', '/media', '/mnt', '/srv')]"
    assert server.run(may_write).result == "[False, True, True, True]"
    [volume] = json.loads(docker("volume", "inspect", f"{place.deployment.name}-of-member"))
    assert volume["Labels"]["jupyterhub-ansible.user"] == "member"


def test_restricted_profile_is_hidden_from_others(place: Place, newcomer: NewUser) -> None:
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
    # The same message as for a profile that does not exist.
    for slug in ("restricted", "no-such-thing"):
        with pytest.raises(StartError, match=known):
            server.start(slug)
    with pytest.raises(StartError, match=r"no size of that name\. Choose one of: small, large"):
        start(server, {"profile": "base", "size": "huge"})
    with pytest.raises(StartError, match="Unknown option: image"):
        start(server, {"image": place.image("base")})
    assert not place.deployment.containers(f"label=jupyterhub-ansible.user={user.name}")


def start(server: Server, options: dict[str, Any] | None) -> None:
    """Start through the REST API with these options."""
    body = {} if options is None else {"user_options": options}
    answer = server.user.api("POST", f"users/{server.user.name}/server", json=body)
    if answer.status_code not in (201, 202):
        raise StartError(answer.json().get("message", answer.text))
    server.wait_until_ready()


def test_user_who_left_the_group_gets_a_notice_and_the_default(place: Place, new_user: NewUser) -> None:
    place.add_to_group("leaver")
    user = new_user("leaver")
    start(user.server(), {"profile": "restricted"})
    place.remove_from_group("leaver")
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
    # A start without a choice does not fail: it uses the default, and says so.
    request = threading.Thread(target=user.api, args=("POST", "users/leaver/server"))
    request.start()
    eventually("the start", lambda: bool(user.api("GET", "users/leaver").json()["servers"]))
    assert told in [event.get("message") for event in user.server().progress()]
    request.join()
    container = place.deployment.server("leaver")
    assert container["Config"]["Image"] == place.image("base")
    # The volume of hub_traits is everybody's; those of the environment are gone.
    assert {mount["Destination"] for mount in container["Mounts"]} == {"/home/jovyan", "/srv"}


@pytest.mark.parametrize(
    "stored", [{"profile": "gone"}, {"profile": "base", "size": "gone"}, {"image": "evil:1"}, {"x": []}]
)
def test_start_works_with_any_stored_choice(place: Place, new_user: NewUser, stored: dict[str, Any]) -> None:
    user = new_user("stored")
    user.server().spawn_page()
    user.api("PATCH", "users/stored/servers/", json={"user_options": stored}).raise_for_status()
    start(user.server(), None)
    assert place.deployment.server("stored")["Config"]["Image"] == place.image("base")


def test_group_member_starts_an_image_by_its_name(place: Place, new_user: NewUser) -> None:
    place.add_to_group("namer")
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


def test_start_shows_the_progress_of_a_pull(place: Place, newcomer: NewUser, tmp_path: Path) -> None:
    user = newcomer("puller")
    place.add_to_group(user.name)
    # The last layer is new: what another test left on the machine would not be pulled again.
    image = saved(place.image("base"), tmp_path / "base.tar").with_layer(random_layer(tmp_path / "new.tar", 50))
    try:
        # Slow enough that progress can be seen after the Hub answers the request, for which it waits ten seconds.
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


def test_start_fails_if_the_image_cannot_be_pulled(place: Place, new_user: NewUser) -> None:
    place.add_to_group("namer")
    with pytest.raises(
        StartError, match=r"The image 127\.0\.0\.1:9/nowhere:1 could not be pulled: .*connection refused"
    ):
        start(new_user("namer").server(), {"image": "127.0.0.1:9/nowhere:1"})


def test_image_that_runs_as_root_by_another_name_is_refused(place: Place, new_user: NewUser, tmp_path: Path) -> None:
    place.add_to_group("namer")
    image = f"{place.deployment.name}/env-root:1"
    (tmp_path / "Dockerfile").write_text(f"FROM {place.image('base')}\nUSER root\nRUN useradd -ou 0 ann\nUSER ann\n")
    docker("build", "--quiet", "--tag", image, str(tmp_path))
    try:
        with pytest.raises(StartError, match=rf"The image {image} runs as root \(ann\).* USER 1000"):
            start(new_user("namer").server(), {"image": image})
    finally:
        docker("rmi", image)


# --- while users work


@pytest.fixture
def at_work(place: Place, new_user: NewUser) -> Iterator[Callable[[], None]]:
    """Yield a function that asserts that a working user is undisturbed."""
    user = new_user("worker")
    user.server().start("base")
    before = place.deployment.server("worker")["State"]["StartedAt"]
    working = Working(user.server())
    working.start()

    def undisturbed() -> None:
        assert working.errors == []
        assert place.deployment.server("worker")["State"]["StartedAt"] == before
        done = working.count
        eventually("another cell", lambda: working.count > done or bool(working.errors))
        assert working.errors == []

    yield undisturbed
    working.ended.set()
    working.join(30)


def one_more(place: Place, **entry: Any) -> dict[str, Any]:
    return {**place.settings, "images_environments": [*catalogue(), {"title": entry["slug"], **entry}]}


def test_broken_environment_is_refused_without_disturbing_users(
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


def test_new_environment_is_offered_without_disturbing_users(
    place: Place, new_user: NewUser, at_work: Callable[[], None]
) -> None:
    settings = one_more(place, slug="cows", description="Cows that talk.", pip=["cowsay", "jupytext"])
    run = place.deployment.run(settings=settings).succeeded()
    at_work()
    # It was tested before it was offered.
    assert "Testing the image: " in (place.deployment.root / "builds/env-cows.log").read_text()
    server = new_user("offered").server()
    assert 'value="cows"' in server.spawn_page().text
    assert "cowsay" in server.spawn_page().text
    server.start("cows")
    assert "moo" in server.run("import cowsay; print(cowsay.get_output_string('cow', 'moo'))").stdout
    # An extension of JupyterLab that users cannot install themselves, because it needs a server extension.
    assert '"name": "jupyterlab-jupytext"' in server.open().text
    # What makes starts slow stays out, although an extension's dependencies name it.
    assert server.run("import importlib.util; importlib.util.find_spec('rfc3987_syntax') is None").result == "True"
    # A second run changes nothing.
    assert place.deployment.run(settings=settings).succeeded().changed == 0
    assert run.changed > 0
    assert SETTINGS["jupyterhub_name"] in place.image("cows")
