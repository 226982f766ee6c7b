"""What the role backup writes for its script, its timer and the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from project import PROJECT, ROLES

ROLE = ROLES / "backup"
KNOWN = {
    "jupyterhub_name": "hub",
    "jupyterhub_root": "/srv/hub",
    "hub_container": "hub-hub",
    "images_backup_ref": "hub/backup:1",
    "preflight_settings_digest": "digest",
    "ansible_facts": {"service_mgr": "systemd"},
    "ansible_managed": "Ansible managed",
    "role_path": str(ROLE),
}


def value(name: str, **given: Any) -> Any:
    """Return a variable of the role with these settings."""
    init_plugin_loader([str(PROJECT / "collections")])
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    variables: dict[str, Any] = {}
    for kind in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLE / kind / "main.yml"), trusted_as_template=True)
    templar = Templar(loader, variables=variables | KNOWN | given)
    return json.loads(json.dumps(templar.template(variables[name])))


def plan(**given: Any) -> dict[str, Any]:
    return {"repository": "/mnt/hub", **given}


@pytest.mark.parametrize(
    ("given", "keep"),
    [
        ({}, {"daily": 7, "weekly": 4, "monthly": 6}),
        ({"keep": {"daily": 2}}, {"daily": 2}),
        ({"keep": {}}, {}),
        ({"append_only": True}, {}),
    ],
)
def test_how_many_are_kept(given: dict[str, Any], keep: dict[str, int]) -> None:
    assert value("__backup_plan", backup_plan=plan(**given)) == {
        "name": "hub",
        "repository": "/mnt/hub",
        "keep": keep,
        "append_only": bool(given.get("append_only")),
        "hub_volume": "hub-hub",
    }


@pytest.mark.parametrize(
    ("schedule", "overdue_s"), [({}, 0), ({"schedule": "hourly"}, 10_800), ({"schedule": "03:30"}, 180_000)]
)
def test_what_the_script_reads(schedule: dict[str, str], overdue_s: int) -> None:
    found = value(
        "__backup_conf", backup_plan=plan(**schedule), hub_volume_name_template="jhub.{username}-{servername}"
    )
    assert found == {
        "name": "hub",
        "root": "/srv/hub",
        "image": "hub/backup:1",
        "repository": "/mnt/hub",
        "local": "yes",
        "adopted": r"jhub\..*-.*",
        "overdue_s": overdue_s,
    }
    assert value("__backup_conf", backup_plan=plan(repository="rest:https://store/hub"))["local"] == "no"
    written = value("__backup_written", backup_plan=plan(repository="/mnt/my hub"))
    conf = next(each for each in written if each["path"] == "/srv/hub/backup/backup.conf")
    assert "repository='/mnt/my hub'\n" in conf["content"]
    assert "adopted=''\n" in conf["content"]


def test_secrets_are_files_of_their_own() -> None:
    key = "-----BEGIN\nline \\1 \"two\" 'three'\n-----END\n"
    given = {"SSH_KEY": key, "SSH_KNOWN_HOSTS": "store ssh-ed25519 AAAA"}
    found = value("__backup_secrets", backup_credentials=given, backup_password="k" * 32)
    assert found == {
        "password": {"value": "k" * 32, "former": "password.former"},
        "SSH_KEY": {"value": key},
        "SSH_KNOWN_HOSTS": {"value": "store ssh-ed25519 AAAA"},
    }
    assert value("__backup_secrets") == {"password": {"value": None, "former": "password.former"}}


@pytest.mark.parametrize(("schedule", "line"), [("03:05", "05 03 * * *"), ("hourly", "0 * * * *")])
def test_cron_has_the_same_times(schedule: str, line: str) -> None:
    assert value("__backup_cron", backup_plan=plan(schedule=schedule)) == line


def timer(schedule: str) -> str:
    text = (ROLE / "templates/backup.timer.j2").read_text()
    loader = DataLoader()
    templar = Templar(loader, variables={**KNOWN, "__backup_schedule": schedule})
    return str(templar.template(trust_as_template(text)))


@pytest.mark.parametrize(("schedule", "calendar"), [("03:30", "*-*-* 03:30:00"), ("hourly", "hourly"), ("", "daily")])
def test_the_timer_has_a_calendar(schedule: str, calendar: str) -> None:
    assert f"\nOnCalendar={calendar}\n" in timer(schedule)


@pytest.mark.parametrize(
    ("given", "said", "summary"),
    [
        ({}, [], "off: everything is on this machine only (docs/how-to/backup.md)"),
        (plan(), ["There is no backup yet."], "There is no backup yet; not scheduled, make backup makes one"),
        (
            plan(schedule="03:30"),
            ["Backup of 2026-11-29 03:30:00 UTC: complete, 3 files", "  1 changed"],
            "last one 2026-11-29 03:30:00 UTC: complete, 3 files; daily at 03:30",
        ),
        (
            plan(schedule="hourly"),
            ["The backup of 2026-11-29 03:30:00 UTC failed: the store is full."],
            "last one 2026-11-29 03:30:00 UTC failed: the store is full; every hour",
        ),
    ],
)
def test_the_summary_is_one_line(given: dict[str, Any], said: list[str], summary: str) -> None:
    assert value("backup_summary", backup_plan=given, __backup_state={"stdout_lines": said}).strip() == summary


def test_a_dry_run_before_the_first_deploy_has_a_summary() -> None:
    assert value("backup_summary", backup_plan=plan(), __backup_state={}).startswith("There is no backup yet")


@pytest.mark.parametrize(("changed", "said"), [([], []), (["settings.json"], []), (["plan.json"], ["the backup"])])
def test_a_change_of_other_settings_is_no_change_of_the_backup(changed: list[str], said: list[str]) -> None:
    written = value("__backup_written", backup_plan=plan())
    results = [{"changed": Path(each["path"]).name in changed, "__backup_file": each} for each in written]
    assert value("backup_changes", backup_plan=plan(), __backup_files={"results": results}) == said
    assert value("backup_changes", backup_plan=plan()) == []


def test_the_script_is_where_preflight_looks_for_it() -> None:
    written = value("__backup_written", backup_plan=plan())
    assert "/srv/hub/backup/backup" in [each["path"] for each in written]
    assert 'root / "backup/backup"' in Path(PROJECT / "plugins/modules/host_report.py").read_text()
