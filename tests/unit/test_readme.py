"""The README shows the banner that a first run really prints."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

ROOT = Path(__file__).parents[2]


def test_banner_is_the_summary_of_a_first_run() -> None:
    templates = Environment(
        loader=FileSystemLoader(ROOT / "playbooks/templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=select_autoescape([]),
    )
    templates.filters["ternary"] = lambda value, yes, no: yes if value else no
    banner = templates.get_template("summary.txt.j2").render(
        ansible_check_mode=False,
        hub_authenticator="shared-password",
        hub_folder="/srv/jupyterhub/hub",
        hub_container="jupyterhub-hub",
        jupyterhub_address="127.0.0.1",
        jupyterhub_port=8000,
        summary_changed=["the engine", "images (6)", "the fence", "the proxy", "the Hub"],
    )
    shown = "".join(f"    {line}\n" if line else "\n" for line in banner.splitlines())
    assert shown in (ROOT / "README.md").read_text()
