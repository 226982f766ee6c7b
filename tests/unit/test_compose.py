"""compose/ is what bin/compose.py would write, and is consistent."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyterhub_ansible.settings import environment_variables
from jupyterhub_ansible.settings.model import Settings
from jupyterhub_ansible.web import outgoing

from bin import compose, compose_dockerfile

COMPOSE = compose.TARGET
FILE: dict[str, Any] = yaml.safe_load((COMPOSE / "docker-compose.yml").read_text())
DOCKERFILE = (COMPOSE / "Dockerfile").read_text()
SEEN = re.findall(r"^!(.*)$", (COMPOSE / "Dockerfile.dockerignore").read_text(), re.MULTILINE)


def test_it_is_up_to_date() -> None:
    assert compose.stale() == [], "run `make compose`"


def test_stale_parts_are_found_and_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(COMPOSE, tmp_path / "compose"))
    monkeypatch.setattr(compose, "TARGET", copy)
    (copy / "hub.json").unlink()
    for name, line in (
        ("Dockerfile", "USER 64102"),
        ("README.md", "| `GITHUB_CLIENT_ID`"),
        (".env.example", "# --- req"),
    ):
        text = (copy / name).read_text()
        (copy / name).write_text(text.replace(line, "# something else"))
    assert compose.stale() == ["hub.json", "Dockerfile: stages", ".env.example: variables", "README.md: variables"]
    compose.main()
    assert compose.stale() == []
    for path in COMPOSE.iterdir():
        assert (copy / path.name).read_text() == path.read_text()


def test_a_file_without_its_markers_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "TARGET", tmp_path)
    (tmp_path / "README.md").write_text("| variable |\n")
    with pytest.raises(SystemExit, match=r"compose/README\.md lacks the lines .* writes its variables"):
        compose.rewritten("README.md: variables", "")


def test_the_proxy_s_command_is_the_role_s() -> None:
    assert FILE["services"]["proxy"]["command"] == compose.Roles().value("__proxy_command")


def test_services_of_environments_are_those_of_the_catalogue() -> None:
    assert {name for name in FILE["services"] if name.startswith("env-")} == {
        f"env-{slug}" for slug in compose.Roles().built
    }


@pytest.mark.parametrize("service", ["hub", "proxy"])
def test_limits_are_the_role_s(service: str) -> None:
    limits = yaml.safe_load((compose.ROLES / service / "vars/main.yml").read_text())[f"__{service}_limits"]
    given = FILE["services"][service]
    assert (given["mem_limit"], given["pids_limit"]) == (limits["memory"], limits["pids"])
    assert given["ulimits"] == {"nofile": limits["files"]}


def test_settings_are_the_role_s_and_every_variable_takes_effect() -> None:
    given = {
        name: "https://hub.acme.test/hub/oauth_callback" if name == "OAUTH_CALLBACK_URL" else "x"
        for name in environment_variables.VARIABLES
    } | {"JUPYTERHUB_USERS_SUBNET": "10.214.0.0/20"}
    below = json.loads((COMPOSE / "hub.json").read_text())
    defaults = yaml.safe_load((compose.ROLES / "hub/defaults/main.yml").read_text())
    assert below["hub_server_memory_mb"] == defaults["hub_server_memory_mb"]
    settings = Settings.model_validate_json(json.dumps(environment_variables.overlaid(below, given)))
    assert settings.compose
    assert settings.network_users_subnet == "10.214.0.0/20"
    assert settings.deployment.users_network == "x-users"
    by_slug = {each.slug: each for each in settings.images_environments}
    assert by_slug["base"].pull
    assert not by_slug["base"].tells_activity, "of an image of somebody else nothing is known"
    assert by_slug["marimo"].image == by_slug["datascience"].image == "x"


def test_our_own_images_report_activity_and_are_never_pulled() -> None:
    for each in json.loads((COMPOSE / "hub.json").read_text())["images_environments"]:
        assert each["tells_activity"]
        assert "pull" not in each


def test_every_variable_is_passed_on_and_documented() -> None:
    known = {*environment_variables.VARIABLES, *environment_variables.SECRETS, environment_variables.ANYTHING}
    hub = FILE["services"]["hub"]["environment"]
    assert set(hub) == {*known, environment_variables.SWITCH, *(name.upper() for name in outgoing.NAMES)}
    assert set(FILE["services"]["proxy"]["environment"].values()) >= {"${JUPYTERHUB_USERS_SUBNET:-10.213.0.0/20}"}
    example = (COMPOSE / ".env.example").read_text()
    for name in known:
        assert re.search(rf"^#? ?{name}=", example, re.MULTILINE), name
        assert f"`{name}`" in (COMPOSE / "README.md").read_text()
    for name, variable in environment_variables.VARIABLES.items():
        assert hub[name] == f"${{{name}:{'?' if variable.required else '-' + variable.default}}}"


def test_every_variable_that_the_files_read_is_in_the_table() -> None:
    override = (COMPOSE / "docker-compose.override.yml").read_text()
    read = set(re.findall(r"\$\{([A-Z0-9_]+)", (COMPOSE / "docker-compose.yml").read_text() + override))
    example = (COMPOSE / ".env.example").read_text()
    for name in read:
        assert name.startswith("SERVICE_") or f"| `{name}` |" in compose.table(), name
        assert name.startswith("SERVICE_") or re.search(rf"^#? ?{name}=", example, re.MULTILINE), name
    for name, (_, default) in (compose.OF_THE_FILE | compose.PUBLISHED).items():
        assert f"${{{name}:-{default}}}" in (COMPOSE / "docker-compose.yml").read_text() + override


@pytest.mark.parametrize("page", ["README.md", "compose/README.md", "docs/how-to/coolify.md"])
def test_the_variables_are_documented_in_one_table(page: str) -> None:
    text = (compose_dockerfile.PROJECT / page).read_text()
    assert compose.table() in text or "compose/README.md#variables" in text or "README.md#variables" in text


def test_defaults_of_the_table_are_the_roles() -> None:
    below = json.loads((COMPOSE / "hub.json").read_text())
    assert environment_variables.VARIABLES["JUPYTERHUB_USERS_SUBNET"].default == below["network_users_subnet"]
    assert (
        environment_variables.VARIABLES["JUPYTERHUB_NAME"].default
        == below["jupyterhub_name"]
        == compose_dockerfile.NAME
    )


def test_services_are_stages_of_the_one_dockerfile() -> None:
    targets = {service["build"]["target"] for service in FILE["services"].values()}
    assert targets <= set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert targets == {"hub", "proxy", "env-base", "env-datascience"}


def test_every_file_that_the_dockerfile_copies_exists() -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (compose_dockerfile.PROJECT / source).exists(), line
            assert any(source.startswith(seen) for seen in SEEN), "the build's context has it"
    stages = set(re.findall(r" AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert set(re.findall(r"--from=(\S+)", DOCKERFILE)) <= stages
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) - {"${OS}"} <= stages


def test_containers_of_environments_end_at_once_and_their_images_are_found() -> None:
    for slug in ("base", "datascience"):
        service = FILE["services"][f"env-{slug}"]
        assert service["restart"] == "no"
        assert service["entrypoint"] == ["/bin/true"]
        assert "environment" not in service
    for label in ("jupyterhub-ansible.project=${PROJECT}", "jupyterhub-ansible.environment=datascience"):
        assert label in DOCKERFILE
    # Hub and proxy need no such label: their containers are running.
    assert DOCKERFILE.count("coolify.managed=true") == 2


def test_an_unknown_stage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/Dockerfile").write_text("FROM ${BASE}\nFROM debian\n")
    monkeypatch.setattr(compose_dockerfile, "FILES", tmp_path)
    with pytest.raises(SystemExit, match="does not understand: FROM debian"):
        list(compose_dockerfile.stages(compose_dockerfile.Stage("x", "base", "new")))


def test_a_file_is_copied_from_the_first_folder_that_has_it() -> None:
    copied = compose_dockerfile.copy_line(["hub", "."], "COPY --chmod=0644 requirements.txt network.env /c/")
    assert copied == "COPY --chmod=0644 images/hub/requirements.txt images/network.env /c/"
    with pytest.raises(SystemExit, match=r"hub/Dockerfile copies nothing\.txt, which is in none of hub"):
        compose_dockerfile.copy_line(["hub"], "COPY nothing.txt /c/")


def test_the_hub_has_the_same_command_as_in_its_own_image() -> None:
    command = re.findall(r"^CMD .*jupyterhub_ansible\.app.*$", DOCKERFILE, re.MULTILINE)
    assert len(command) == 2
    assert command[0] == command[1]


def test_accounts_are_those_of_the_images() -> None:
    from jupyterhub_ansible.compose import secret_files

    assert f"useradd --uid {secret_files.HUB_UID} " in DOCKERFILE
    assert f"useradd --uid {secret_files.PROXY_UID} " in DOCKERFILE
    assert f"--reuid={secret_files.HUB_UID} " in (COMPOSE / "hub-entrypoint").read_text()
