"""Logging in with GitHub, and losing access; a stand-in speaks GitHub's protocol."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import pytest
import yaml
from e2e.browser import browser, do_the_main_job, shoot
from e2e.client import StartError, eventually
from e2e.deployment import ARTEFACTS, CATALOGUE, Deployment, docker
from e2e.people import CLIENT_ID, INTERVAL_S, Person, Place, all_the_time, github
from e2e.places import found, of_files, of_layers, of_processes, of_runs, of_the_engine, secrets
from playwright.sync_api import expect


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


def test_user_works_in_a_browser(place: Place) -> None:
    """Sign in at GitHub, authorize, work in JupyterLab and marimo, log out."""
    place.github.add_user("Grace")
    place.github.set_member("acme", "Grace")
    host = urlsplit(place.settings["hub_github_url"]).hostname
    with browser(host or "") as context:
        do_the_main_job(context, place.deployment.url, "Grace", "github")
    assert "Untitled.ipynb" in docker("exec", f"{place.deployment.name}-user-grace", "ls")


def test_login_page_tells_a_non_member_why(place: Place) -> None:
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
        shoot(window, "github-5-non-member")


def test_team_makes_administrators(place: Place) -> None:
    operator, member = place.member("Olga", "operators"), place.member("Mia", "data")
    assert operator.request("GET", "/hub/admin").ok
    assert member.request("GET", "/hub/admin").status_code == 403
    users = {user["name"]: user for user in operator.api("GET", "users").json()}
    assert users["olga"]["admin"]
    assert users["olga"]["groups"] == ["acme:operators"]
    assert users["mia"]["groups"] == ["acme:data"]
    # Rights that were taken away end.
    place.github.remove_team_member("acme", "operators", "Olga")
    eventually(
        "the rights are gone",
        lambda: operator.request("GET", "/hub/admin").status_code == 403,
        INTERVAL_S + 10,
    )


def test_only_the_team_gets_its_environment(place: Place) -> None:
    insider, outsider = place.member("Tess", "data"), place.member("Theo")
    insider.server().start("team")
    insider.server().stop()
    card = 'value="team"'
    assert card in insider.server().spawn_page().text
    assert card not in outsider.server().spawn_page().text
    with pytest.raises(StartError, match="There is no environment of that name"):
        outsider.server().start("team")
    # Leaving the team ends access to it, even if it was the last choice.
    place.github.remove_team_member("acme", "data", "Tess")
    eventually("the card is gone", lambda: card not in insider.server().spawn_page().text, INTERVAL_S + 10)
    insider.server().start()
    assert insider.api("GET", "users/tess").json()["servers"][""]["user_options"] == {"profile": "base"}
    insider.server().stop()


def test_logout_ends_the_session(place: Place) -> None:
    person = place.member("Mia")
    assert person.is_logged_in()
    person.request("GET", "/hub/logout")
    assert not person.is_logged_in()


def test_leaving_the_organization_ends_session_token_and_server(place: Place) -> None:
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


def test_sessions_last_and_logins_fail_while_github_is_down(place: Place) -> None:
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


def test_home_follows_the_account_not_the_login(place: Place) -> None:
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
    # An operator can rename the user on the Hub accordingly.
    renamed.server().stop()
    docker("exec", place.deployment.hub, "python", "-m", "jupyterhub_ansible", "rename", "nina", "Nina-Smith")
    docker("restart", place.deployment.hub)
    renamed.name = "nina-smith"
    eventually("the Hub is back", lambda: renamed.is_logged_in())
    renamed.server().start("base")
    assert "mine" in docker("exec", f"{place.deployment.name}-user-nina-smith", "ls")


def test_account_that_takes_over_a_login_gains_no_rights(place: Place) -> None:
    """Vera is an administrator by name, and one environment is hers; Mara, another member, takes her login."""
    vera, mara = place.member("Vera"), place.member("Mara")
    place.github.rename_user("Vera", "Vera-New")
    place.github.rename_user("Mara", "Vera")

    def is_admin(person: Person) -> bool:
        return person.request("GET", "/hub/admin").status_code == 200

    def sees_the_environment(person: Person) -> bool:
        return 'value="vera"' in person.server().spawn_page().text

    # In existing sessions, and in new ones.
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
    warnings = [
        line
        for line in docker("logs", place.deployment.hub).splitlines()
        if "does not get the rights that settings" in line
    ]
    assert len(warnings) == 1
    assert f"number {numbers['Vera']}, mara here, has the login vera" in warnings[0]
    assert f"number {numbers['Vera-New']} here" in warnings[0]
    listed = docker("exec", place.deployment.hub, "python", "-m", "jupyterhub_ansible", "identity", "list")
    rows = {row.split("\t")[0]: row.split("\t") for row in listed.splitlines()}
    assert rows["vera"][1:3] == ["Vera-New", numbers["Vera-New"]]
    assert rows["mara"][4] == f"rights of vera are not given: it is or was number {numbers['Vera-New']}"


def test_blocked_user_loses_server_and_login(place: Place) -> None:
    blocked, staying = place.working("Mia"), place.working("Paula")
    place.deployment.run(settings={**place.settings, "hub_blocked_users": ["Mia"]}).succeeded()
    eventually("the server is gone", lambda: not place.runs("mia"), INTERVAL_S + 30)
    page = blocked.login()
    assert page.status_code == 403
    assert "Your account is blocked here." in page.text
    assert place.runs("paula")
    assert staying.is_logged_in()


def test_run_brings_a_changed_client_secret(place: Place) -> None:
    secret = token_hex(20)
    place.github.change_client_secret(CLIENT_ID, secret)
    assert place.person("Paula").login().status_code == 403
    place.settings["hub_github_client_secret"] = secret
    run = place.deployment.run(settings=place.settings).succeeded()
    assert secret not in run.output
    assert place.person("Paula").login().ok


def test_no_secret_leaks(place: Place, tmp_path: Path) -> None:
    """Neither the operator's, from a vault, nor the tokens that GitHub gave the Hub for its users."""
    given = {name: token_hex(32) for name in ("hub_cookie_secret", "hub_crypt_key", "proxy_token")}
    vault, password = tmp_path / "vault.yml", tmp_path / "password"
    vault.write_text(yaml.safe_dump(given))
    password.write_text(token_hex(32))
    vault_options = ["--vault-password-file", str(password)]
    subprocess.run([Path(sys.executable).with_name("ansible-vault"), "encrypt", *vault_options, vault], check=True)
    settings = {**place.settings, "hub_server_memory_mb": 1400}
    place.deployment.run("-vvv", "--diff", *vault_options, "-e", f"@{vault}", settings=settings).succeeded()
    current = secrets(place.deployment)
    assert {current["hub/cookie_secret"], current["hub/crypt_key"], current["proxy/token"]} == set(given.values())
    person = place.working("Paula")
    wanted = {**current, "the client secret": place.settings["hub_github_client_secret"]}
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
    control = {"the Hub's code": "class UserServerSpawner("}
    assert set(found({**wanted, **control}, of_layers(place.deployment))) == {"the Hub's code in an image's layer"}


@pytest.mark.parametrize("secret", ["crypt_key", "proxy_token", "cookie_secret"])
def test_rotating_a_secret_keeps_the_server_running(place: Place, secret: str) -> None:
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


def test_emergency_link_logs_in_an_administrator_once(place: Place) -> None:
    # The link and the text beside it are two streams, which `docker exec` passes on in either order.
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
        # The session is checked again, but not with GitHub.
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
