"""Logging in with GitHub, and having to leave; GitHub is a stand-in that speaks its protocol."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from e2e.browser import browser, do_the_main_job, shoot
from e2e.client import StartError, eventually
from e2e.deployment import ARTEFACTS, CATALOGUE, Deployment, docker
from e2e.people import CLIENT_ID, INTERVAL_S, Person, github
from e2e.places import found, of_files, of_layers, of_processes, of_runs, of_the_engine, secrets
from github import GitHub
from playwright.sync_api import expect


@dataclass
class Place:
    """The Hub, GitHub, and the people who have an account there."""

    deployment: Deployment
    github: GitHub
    settings: dict[str, Any]
    certificate: Path

    def person(self, login: str) -> Person:
        """Return somebody with a browser of their own."""
        return Person(self.deployment.url, login, self.certificate)

    def member(self, login: str, team: str = "") -> Person:
        """Return a member of the organization, logged in."""
        if login.lower() not in {user.login.lower() for user in self.github.users.values()}:
            self.github.add_user(login)
            self.github.set_member("acme", login)
        if team:
            self.github.add_team_member("acme", team, login)
        person = self.person(login)
        page = person.login()
        assert page.ok, page.text
        return person

    def working(self, login: str) -> Person:
        """Return a member whose server runs."""
        person = self.member(login)
        if not self.runs(person.name):
            person.server().start("base")
        person.server().open().raise_for_status()
        return person

    def runs(self, user: str) -> bool:
        """Whether the user's server has a container."""
        return bool(self.deployment.containers(f"label=jupyterhub-ansible.user={user}"))


def all_the_time(condition: Callable[[], bool], intervals: int = 1) -> None:
    """Insist on something for so long that membership has been looked at again."""
    end = time.monotonic() + intervals * INTERVAL_S + 1
    while time.monotonic() < end:
        assert condition()
        time.sleep(1)


@pytest.fixture(scope="module")
def place(deployment: Deployment) -> Iterator[Place]:
    with github(f"{deployment.name}-control", deployment.url, ARTEFACTS / "tls") as (account, settings, certificate):
        account.add_organization("acme")
        for team in ("Operators", "Data"):
            account.add_team("acme", team)
        of_a_team = {"slug": "team", "title": "The team's", "image_of": "base", "groups": ["acme:data"]}
        of_vera = {"slug": "vera", "title": "Vera's", "image_of": "base", "users": ["Vera"]}
        settings["images_environments"] = [*CATALOGUE, of_a_team, of_vera]
        settings["hub_admin_users"] = ["Vera"]
        deployment.run(settings=settings).succeeded()
        place = Place(deployment, account, settings, certificate)
        yield place
        for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
            docker("rm", "--force", name)


def test_the_main_job_in_a_browser(place: Place) -> None:
    """Open the Hub, be sent to GitHub, authorize, come back, work in both kinds of notebooks, leave."""
    place.github.add_user("Grace")
    place.github.set_member("acme", "Grace")
    host = urlsplit(place.settings["hub_github_url"]).hostname
    with browser(host or "") as context:
        do_the_main_job(context, place.deployment.url, "Grace", "github")
    assert "Untitled.ipynb" in docker("exec", f"{place.deployment.name}-user-grace", "ls")


def test_who_is_no_member_is_told_why(place: Place) -> None:
    place.github.add_user("mallory")
    page = place.person("mallory").login()
    assert page.status_code == 403
    assert (
        "The GitHub account mallory is not a member of the organization acme, so it may not log in here." in page.text
    )
    assert "Please ask the administrator." in page.text
    with browser(urlsplit(place.settings["hub_github_url"]).hostname or "") as context:
        window = context.new_page()
        window.goto(f"{place.deployment.url}/hub/oauth_login")
        window.get_by_label("Username or email address").fill("mallory")
        window.get_by_role("button", name="Sign in").click()
        expect(window.get_by_text("not a member of the organization acme").first).to_be_visible()
        shoot(window, "github-5-no-member")


def test_administrators_by_team(place: Place) -> None:
    operator, member = place.member("Olga", "operators"), place.member("Mia", "data")
    assert operator.request("GET", "/hub/admin").ok
    assert member.request("GET", "/hub/admin").status_code == 403
    users = {user["name"]: user for user in operator.api("GET", "users").json()}
    assert users["olga"]["admin"]
    assert users["olga"]["groups"] == ["acme:operators"]
    assert users["mia"]["groups"] == ["acme:data"]
    # No right that was taken away stays.
    place.github.remove_team_member("acme", "operators", "Olga")
    eventually(
        "the rights are gone",
        lambda: operator.request("GET", "/hub/admin").status_code == 403,
        INTERVAL_S + 10,
    )


def test_an_environment_of_a_team(place: Place) -> None:
    insider, outsider = place.member("Tess", "data"), place.member("Theo")
    insider.server().start("team")
    insider.server().stop()
    card = 'value="team"'
    assert card in insider.server().spawn_page().text
    assert card not in outsider.server().spawn_page().text
    with pytest.raises(StartError, match="There is no environment of that name"):
        outsider.server().start("team")
    # Who leaves the team does not get it again, though it was the last choice.
    place.github.remove_team_member("acme", "data", "Tess")
    eventually("the card is gone", lambda: card not in insider.server().spawn_page().text, INTERVAL_S + 10)
    insider.server().start()
    assert insider.api("GET", "users/tess").json()["servers"][""]["user_options"] == {"profile": "base"}
    insider.server().stop()


def test_logout(place: Place) -> None:
    person = place.member("Mia")
    assert person.is_logged_in()
    person.request("GET", "/hub/logout")
    assert not person.is_logged_in()


def test_leaving_means_leaving(place: Place) -> None:
    leaving, staying = place.working("Lee"), place.working("Mia")
    token = leaving.token()
    with staying.server().kernel() as kernel:
        kernel.execute("x = 1")
        place.github.remove_member("acme", "Lee")
        eventually("the server is gone", lambda: not place.runs("lee"), INTERVAL_S + 30)
        assert not leaving.is_logged_in()
        assert leaving.login().status_code == 403
        refused = Person(place.deployment.url, "lee", place.certificate)
        refused.session.headers["Authorization"] = f"token {token}"
        assert refused.api("GET", "user").status_code in (401, 403)
        assert kernel.execute("x + 1").result == "2"
    assert place.runs("mia")
    assert staying.is_logged_in()
    log = docker("logs", place.deployment.hub)
    assert "lee may not stay: The GitHub account Lee is not a member of the organization acme" in log
    assert "Stopping lee: its user may not be in any more. The files stay." in log
    assert f"{place.deployment.name}-user-lee" in docker("volume", "ls", "--quiet")


def test_while_github_is_down_nobody_is_thrown_out_and_nobody_comes_in(place: Place) -> None:
    person = place.working("Mia")
    place.github.break_down(503)
    try:
        status = f"{person.server().path}api/status"
        all_the_time(lambda: person.is_logged_in() and person.request("GET", status).ok, intervals=3)
        assert place.runs("mia")
    finally:
        place.github.recover()
    newcomer = place.person("Mia")
    place.github.break_down(503, below="/api")
    try:
        page = newcomer.login()
    finally:
        place.github.recover()
    assert page.status_code == 503
    assert "GitHub does not answer, so that nobody can log in just now." in page.text
    assert "stays in, since GitHub cannot be asked: it answered with 503" in docker("logs", place.deployment.hub)


def test_a_login_that_changed_hands(place: Place) -> None:
    place.working("Nina")
    docker("exec", f"{place.deployment.name}-user-nina", "touch", "mine")
    place.github.rename_user("Nina", "Nina-Smith")
    # The same account under another login keeps name, home and server.
    renamed = place.person("Nina-Smith")
    assert renamed.login().ok
    renamed.name = "nina"
    assert renamed.server().open().ok
    assert "mine" in docker("exec", f"{place.deployment.name}-user-nina", "ls")
    # Another account under the same login gets nothing.
    place.github.add_user("nina")
    place.github.set_member("acme", "nina")
    page = place.person("nina").login()
    assert page.status_code == 403
    assert "The name nina belongs to another GitHub account here" in page.text
    # The user's name here follows, if that is wanted.
    renamed.server().stop()
    docker("exec", place.deployment.hub, "python", "-m", "jupyterhub_ansible", "rename", "nina", "Nina-Smith")
    docker("restart", place.deployment.hub)
    renamed.name = "nina-smith"
    eventually("the Hub is back", lambda: renamed.is_logged_in())
    renamed.server().start("base")
    assert "mine" in docker("exec", f"{place.deployment.name}-user-nina-smith", "ls")


def test_a_known_account_that_takes_a_login_gets_nothing_by_it(place: Place) -> None:
    """Vera is an administrator by name, and one environment is hers; Mara, a member, too, takes her login."""
    vera, mara = place.member("Vera"), place.member("Mara")
    place.github.rename_user("Vera", "Vera-New")
    place.github.rename_user("Mara", "Vera")

    def is_admin(person: Person) -> bool:
        return person.request("GET", "/hub/admin").status_code == 200

    def sees_the_environment(person: Person) -> bool:
        return 'value="vera"' in person.server().spawn_page().text

    # In sessions that last, and in new ones.
    all_the_time(lambda: is_admin(vera) and not is_admin(mara))
    again, vera_again = place.person("Vera"), place.person("Vera-New")
    assert again.login().ok
    assert vera_again.login().ok
    again.name, vera_again.name = "mara", "vera"
    assert not is_admin(again)
    assert not sees_the_environment(again)
    assert is_admin(vera_again)
    assert sees_the_environment(vera_again)
    numbers = {user.login: str(user.id) for user in place.github.users.values()}
    told = [
        line
        for line in docker("logs", place.deployment.hub).splitlines()
        if "does not get the rights that settings" in line
    ]
    assert len(told) == 1
    assert f"number {numbers['Vera']}, mara here, has the login vera" in told[0]
    assert f"number {numbers['Vera-New']} here" in told[0]
    listed = docker("exec", place.deployment.hub, "python", "-m", "jupyterhub_ansible", "identity", "list")
    rows = {row.split("\t")[0]: row.split("\t") for row in listed.splitlines()}
    assert rows["vera"][1:3] == ["Vera-New", numbers["Vera-New"]]
    assert rows["mara"][4] == f"rights of vera are not given: it is or was number {numbers['Vera-New']}"


def test_blocked_by_a_deployment(place: Place) -> None:
    blocked, staying = place.working("Mia"), place.working("Paula")
    place.deployment.run(settings={**place.settings, "hub_blocked_users": ["Mia"]}).succeeded()
    eventually("the server is gone", lambda: not place.runs("mia"), INTERVAL_S + 30)
    page = blocked.login()
    assert page.status_code == 403
    assert "Your account is blocked here." in page.text
    assert place.runs("paula")
    assert staying.is_logged_in()


def test_a_client_secret_that_was_changed(place: Place) -> None:
    secret = token_hex(20)
    place.github.change_client_secret(CLIENT_ID, secret)
    assert place.person("Paula").login().status_code == 403
    place.settings["hub_github_client_secret"] = secret
    run = place.deployment.run(settings=place.settings).succeeded()
    assert secret not in run.output
    assert place.person("Paula").login().ok


def test_no_secret_shows(place: Place, tmp_path: Path) -> None:
    """Neither those that the operator gives from a vault, nor what GitHub gave the Hub for its users."""
    given = {name: token_hex(32) for name in ("hub_cookie_secret", "hub_crypt_key", "proxy_token")}
    vault, password = tmp_path / "vault.yml", tmp_path / "password"
    vault.write_text(yaml.safe_dump(given))
    password.write_text(token_hex(32))
    asked = ["--vault-password-file", str(password)]
    subprocess.run([Path(sys.executable).with_name("ansible-vault"), "encrypt", *asked, vault], check=True)
    settings = {**place.settings, "hub_server_memory_mb": 1400}
    place.deployment.run("-vvv", "--diff", *asked, "-e", f"@{vault}", settings=settings).succeeded()
    there = secrets(place.deployment)
    assert {there["hub/cookie_secret"], there["hub/crypt_key"], there["proxy/token"]} == set(given.values())
    person = place.working("Paula")
    wanted = {**there, "the client secret": place.settings["hub_github_client_secret"]}
    tokens = {f"token {number}": token for number, token in enumerate(place.github.tokens)}
    assert tokens
    pages = ("/hub/home", "/hub/token", "/hub/spawn", f"{person.server().path}lab", "/hub/api/user")
    places = chain(
        of_the_engine(place.deployment),
        of_processes(place.deployment),
        of_files(place.deployment),
        of_runs(),
        ((path, person.request("GET", path).text) for path in pages),
    )
    assert found({**wanted, **tokens}, places) == []
    in_there = {"the Hub's code": "class UserServerSpawner("}
    assert set(found({**wanted, **in_there}, of_layers(place.deployment))) == {"the Hub's code in an image's layer"}


@pytest.mark.parametrize("secret", ["crypt_key", "proxy_token", "cookie_secret"])
def test_a_secret_is_rotated_while_a_user_works(place: Place, secret: str) -> None:
    person = place.working("Paula")
    with person.server().kernel() as kernel:
        kernel.execute("x = 6")
        before = place.deployment.server("paula")["State"]["StartedAt"]
        old = secrets(place.deployment)
        rotated = {**place.settings, "secret_to_rotate": secret}
        place.deployment.run(settings=rotated, playbook="playbooks/rotate.yml").succeeded()
        new = secrets(place.deployment)
        assert place.deployment.run(settings=place.settings).succeeded().changed == 0
        changed = {name for name in new if new[name] != old[name]}
        assert changed == ({"hub/proxy_token", "proxy/token"} if secret == "proxy_token" else {f"hub/{secret}"})
        all_the_time(lambda: person.is_logged_in() == (secret != "cookie_secret"))
        assert person.login().ok
        assert place.deployment.server("paula")["State"]["StartedAt"] == before
        assert person.server().open().ok
        if secret != "proxy_token":
            assert kernel.execute("7 * x").result == "42", "its connection lasted"


def test_emergency_link(place: Place) -> None:
    # The client passes the link and the words beside it on in either order: they are two streams.
    made = docker("exec", place.deployment.hub, "python", "-m", "jupyterhub_ansible", "emergency-link")
    (link,) = (urlsplit(line) for line in made.splitlines() if line.startswith("http"))
    path = f"{link.path}?{link.query}"
    place.github.break_down(503)
    try:
        admin = place.person("nobody")
        page = admin.request("GET", path)
        assert "Log in as the administrator break.glass for an hour" in page.text
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        assert xsrf
        done = admin.request("POST", path, data={"_xsrf": xsrf[1]})
        assert done.ok
        assert admin.request("GET", "/hub/admin").ok
        # It is asked again, and not of GitHub.
        all_the_time(lambda: admin.api("GET", "users").ok)
    finally:
        place.github.recover()
    again = place.person("nobody").request("GET", path)
    assert again.status_code == 403
    assert "This link has been used already" in again.text
    log = docker("logs", place.deployment.hub)
    assert "break-glass: a link was made on the host" in log
    assert "Break-glass link used by" in log
    assert "Break-glass link refused for" in log
    key = link.query.removeprefix("key=")
    assert key not in log
    assert key not in docker("logs", place.deployment.proxy)
