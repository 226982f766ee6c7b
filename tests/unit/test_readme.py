"""README and how-to show the banners that a first run really prints."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

ROOT = Path(__file__).parents[2]
HERE = {
    "ansible_connection": "local",
    "ansible_host": "localhost",
    "inventory_hostname": "localhost",
    "summary_inventory": "inventory/local.yml",
    "summary_settings": ["group_vars/local.yml"],
}
# As `make init` writes it.
THERE = {
    "ansible_connection": "ssh",
    "ansible_host": "hub.example.org",
    "ansible_user": "root",
    "inventory_hostname": "hub.example.org",
    "summary_inventory": "inventory/production.yml",
    "summary_settings": ["group_vars/production/settings.yml"],
    "hub_authenticator": "github",
    "hub_url": "http://127.0.0.1:8000",
    "hub_allow_all": False,
    "hub_allowed_users": [],
    "hub_admin_users": ["ann"],
    "hub_github_allowed_organizations": [],
    "hub_github_allowed_teams": [],
    "hub_github_admin_teams": [],
}


def banner(machine: dict[str, Any], **others: Any) -> str:
    templates = Environment(
        loader=FileSystemLoader(ROOT / "playbooks/templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=select_autoescape([]),
    )
    templates.filters["ternary"] = lambda value, yes, no: yes if value else no
    values = {
        "ansible_check_mode": False,
        "hub_authenticator": "shared-password",
        "hub_folder": "/srv/jupyterhub/hub",
        "hub_container": "jupyterhub-hub",
        "ingress_mode": "none",
        "ingress_caddy": {},
        "ingress_certificate_ends": "",
        "backup_summary": "off: everything is on this machine only (docs/how-to/backup.md)",
        "jupyterhub_address": "127.0.0.1",
        "jupyterhub_port": 8000,
        "summary_changed": ["the engine", "images (6)", "the fence", "the ceiling", "the proxy", "the Hub"],
        **machine,
        **others,
    }
    return templates.get_template("summary.txt.j2").render(values)


def shown(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())


def test_banner_is_the_summary_of_a_first_run() -> None:
    assert shown(banner(HERE)) in (ROOT / "README.md").read_text()


def test_banner_of_another_machine() -> None:
    assert shown(banner(THERE)) in (ROOT / "docs/how-to/vps.md").read_text()


def test_tunnel_is_how_ansible_reaches_the_machine() -> None:
    reached = {"ansible_user": "deploy", "ansible_port": 2222, "ansible_ssh_private_key_file": "~/.ssh/hub"}
    text = banner(THERE, **reached, jupyterhub_address="::1", jupyterhub_port=8888)
    assert " ssh -p 2222 -i ~/.ssh/hub -L 8888:[::1]:8888 deploy@hub.example.org\n" in text
    assert "sudo docker logs" in text
    assert "sudo" not in banner(THERE), "a machine with root alone need not have it"


def test_address_is_the_one_that_browsers_use() -> None:
    url = "https://hub.example.org"
    said = {"jupyterhub_url": url, "hub_url": url, "hub_github_allowed_organizations": ["acme"]}
    text = banner(THERE, **said, ingress_mode="proxy")
    address = "https://hub.example.org, through your proxy, which must forward requests to 127.0.0.1:8000 there"
    assert f"  Address    {address}\n" in text
    assert "with GitHub, whose OAuth app needs the callback URL https://hub.example.org/hub/oauth_callback\n" in text
    assert "  Who        acme, ann\n" in text
    assert "ssh" not in text
    text = banner(THERE, **said, ingress_mode="coolify")
    assert "  Address    https://hub.example.org, through Coolify's proxy\n" in text
    ends = "2027-02-21 14:04"
    text = banner(THERE, **said, ingress_mode="caddy", ingress_certificate_ends=ends)
    page = (ROOT / "docs/how-to/https.md").read_text()
    beginning = "".join(shown(text).splitlines(keepends=True)[:4])
    # In a numbered list.
    assert indent(beginning, "   ") in page
    own = {"certificate_file": "/etc/ssl/hub.pem"}
    assert "04 UTC; yours\n" in banner(
        THERE, **said, ingress_mode="caddy", ingress_certificate_ends=ends, ingress_caddy=own
    )


def test_address_of_this_machine_works_in_a_browser() -> None:
    assert " http://[::1]:8000\n" in banner(HERE, jupyterhub_address="::1")
