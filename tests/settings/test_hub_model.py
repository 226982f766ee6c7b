"""The Hub refuses the settings that preflight refuses: playbook and Compose share one set of rules.

Each row of cases.yml is written as the role hub writes hub.json, and read as the Hub reads it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from example_secrets import SECRET_NAMES
from jupyterhub_ansible.settings import check
from jupyterhub_ansible.settings.model import SettingsError, load
from project import IMAGES
from settings import test_cases as preflight

from bin import compose
from plugins.filter import image_catalogue

ROLES = compose.Roles()
SECRETS = {
    "hub_cookie_secret": "cookie_secret",
    "hub_crypt_key": "crypt_key",
    "proxy_token": "proxy_token",
    "hub_user_password": "user_password",
    "hub_admin_password": "admin_password",
    "hub_github_client_secret": "github_client_secret",
}
# Long enough, and each different.
GOOD_SECRETS = {name: f"{number}{preflight.KEY[1:]}" for number, name in enumerate(SECRET_NAMES, 1)}

# --- what hub.json cannot express, by settings

NOT_OF_THE_HUB = {
    "jupyterhub_root": "a folder of the machine, which the Hub does not know",
    "hub_github_callback_url": "only compared with what follows from jupyterhub_url",
    "audit_": "how much the recorder keeps, which is another container; Compose has JUPYTERHUB_AUDIT_KEEP_MB",
    "backup_": "backups are made beside the Hub, which does not know of them",
    "docker_": "settings of the engine",
    "images_": "how images are made; Compose has its Dockerfile",
    "ingress_": "the way in is another container's; Compose has Coolify or the operator's own proxy",
    "preflight_": "limits of checks of the machine",
}
"""Settings, or prefixes of their names, and why hub.json does not contain them."""
OF_THE_HUB = {"images_environments"}

# --- and by rows: how the message begins

DATES = "JSON has no dates"
LOST = "the role images transforms it, or fails; the Hub's own types refuse the rest"
MADE = "hub.json does not contain the source of an image"
PLACE = "hub.json has the proxy's own address, not the one that Compose or an ingress publishes"
WAYS = "hub.json does not contain how HTTPS is terminated"
UNREAD = "hub.json has no keys for other authenticators, and their secrets are not read"
FOLDERS = "jupyterhub_root and the engine's folder are not in hub.json"
ADMIN = "Compose asks for one of ALLOWED_GITHUB_ORGS and ADMIN_GITHUB_USERS (compose/README.md)"
ACCEPTED = {
    "backup_plan: homes cannot be told": "hub.json does not contain backup_plan",
    "github_client_secret: is called": "another name of the secret; the file is then missing, which the Hub reports",
    "hub_github_client_secret: is not set": "the file is then missing, which the Hub reports",
    "hub_github_client_secret: has spaces, quotes or line breaks": "a file may end in a line break",
    "hub_traits.JupyterHub.since": DATES,
    'jupyterhub_url: is "http://127.0.0.1:8000", which': PLACE,
    "jupyterhub_url: uses https on port": PLACE,
    "hub_github_callback_url: does not match jupyterhub_address": "only compared with what follows from jupyterhub_url",
    "administrators: the Hub would have none": ADMIN,
    "hub_github_client_id: only applies with": UNREAD,
    "hub_github_allowed_organizations: only applies with": UNREAD,
    "hub_membership_interval_s: only applies with": UNREAD,
    "hub_user_password: only applies with": UNREAD,
    "images_environments: must be a list": LOST,
    'images_environments[1] (slug "geo").pip': MADE,
    'images_environments[1] (slug "geo").apt': MADE,
    "images_environments[1]: must be a mapping": LOST,
    'images_environments[0]: lacks the key "slug"': LOST,
    'images_environments[1] (slug "geo"): does not say where its image comes from': MADE,
    'images_environments[1] (slug "geo"): has 2 sources of its image': MADE,
    "base is built in": MADE,
    'images_environments[1] (slug "geo"): there is no Dockerfile': MADE,
    'images_environments[1] (slug "geo"): image_of does not name an environment': MADE,
    'images_environments[2] (slug "geo2"): has the same content': MADE,
    'images_environments[1] (slug "geo").groups: is empty': "hub.json has an empty list if nothing is set",
    'images_environments[1] (slug "geo"): mounts: "/srv/jupyterhub/hub"': FOLDERS,
    'images_environments[1] (slug "geo"): mounts: "/srv"': FOLDERS,
    "hub_traits.DockerSpawner.volumes./srv/jupyterhub/hub/secrets": FOLDERS,
    "hub_traits.DockerSpawner.volumes./srv/{username}": FOLDERS,
    "hub_server_memory_mb: one server may use": "the machine's memory",
    "hub_reserve_memory_mb: leaves": "the machine's memory",
    "hub_server_cpus: one server may use": "the machine's processors",
    'images_environments[1] (slug "geo"): the size "huge" has': "the machine's memory and processors",
    "jupyterhub_url: is not set, and ingress_mode": WAYS,
    "jupyterhub_url: uses http, but ingress_mode": WAYS,
    "jupyterhub_url: has a port, but caddy": WAYS,
    "jupyterhub_url: is an IP address, but caddy": WAYS,
    "jupyterhub_url: contains an underscore": WAYS,
    "jupyterhub_url: is not a host that a certificate": WAYS,
    "jupyterhub_address: is an IPv6 address": PLACE,
    "ingress_caddy: hub_traits gives each user a subdomain": WAYS,
    "ingress_trusted_proxies: is empty": WAYS,
}
"""What preflight refuses but the Hub accepts, and why: hub.json does not contain what the rule is about."""
CONFIG = IMAGES / "hub/jupyterhub_config.py"
OTHER_WORDS = {
    "GITHUB_CLIENT_ID: is called": "hub.json only has the setting's own name, which is missing",
    "hub_github_client_id: is empty": "hub.json does not contain empty values",
    "hub_default_environment: is empty": "hub.json does not contain empty values",
    "hub_github_client_secret: must be a string": "the content of a file is always a string",
    "proxy_token: must be a string": "the content of a file is always a string",
    "jupyterhub_url: is not set, but jupyterhub_address": "hub.json then has the derived address",
    'images_environments[1] (slug "geo"): unknown key "pipp"': "the Hub knows other keys: it builds nothing",
    "hub_authenticator: is shared-password, with which": "the Hub checks addresses instead of ingress_mode",
}
"""What the Hub refuses with another message than preflight, and why."""
PLACE_OF_A_SETTING = re.compile(r" \((hub\.json|/[^)]*)\)")


def _is_of_the_hub(name: str) -> bool:
    """Return whether a setting exists and is part of hub.json or the Hub's secrets."""
    return name in preflight.SPECS.options and (
        name in OF_THE_HUB or not any(name.startswith(each) for each in NOT_OF_THE_HUB)
    )


def _catalogue(entries: Any) -> Any:
    """Return the environments as the role images passes them to the Hub."""
    plan: dict[str, Any] = defaultdict(lambda: {"ref": "jupyterhub/env-x:0"})
    return image_catalogue.images_catalogue(entries, plan, files=str(IMAGES))


def written(values: Mapping[str, Any], folder: Path) -> None:
    """Write settings on top of the defaults as the roles do.

    Raises:
        TypeError, AnsibleError, AttributeError, KeyError: hub.json cannot represent them.
    """
    given = {name: value for name, value in values.items() if name in preflight.SPECS.options}
    before = ROLES.variables
    ROLES.variables = {
        **{name: value for name, value in before.items() if name != "jupyterhub_url"},
        **given,
        "jupyterhub_address": given.get("jupyterhub_address", preflight.DEFAULTS["jupyterhub_address"]),
        "ingress_mode": given.get("ingress_mode", "none"),
        "images_catalogue": _catalogue(values.get("images_environments", before["images_environments"])),
    }
    try:
        settings = ROLES.value("hub_settings")
        settings["compose"] = {}
    finally:
        ROLES.variables = before
    (folder / "hub.json").write_text(json.dumps(settings))
    for setting, name in SECRETS.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(str(given.get(setting, GOOD_SECRETS[name])))


def refusal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the Hub's error for the written settings, from its model or from the check before its start."""
    monkeypatch.setenv("JUPYTERHUB_SETTINGS_FILE", str(folder / "hub.json"))
    monkeypatch.setenv("JUPYTERHUB_SECRETS_DIR", str(folder))
    try:
        load()
    except SettingsError as error:
        return str(error)
    return "\n".join(check.problems(CONFIG))


def _values(case: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    base = next((each for each in preflight.BASES if each in case), "set")
    bad = case.get(base, {})
    settings = {**preflight.BASES[base], **bad}
    return {name: value for name, value in settings.items() if value != "unset"}, bad


OF_THE_MODEL = [
    case
    for case in preflight.CASES
    if not {"machine", "exposed"} & case.keys() and any(map(_is_of_the_hub, _values(case)[1]))
]


def _reason(case: Mapping[str, Any]) -> str:
    said = str(case["says"][0])
    return next((reason for start, reason in ACCEPTED.items() if said.startswith(start)), "")


@pytest.mark.parametrize("case", OF_THE_MODEL, ids=preflight.title)
def test_the_hub_refuses_what_preflight_refuses(
    case: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, _ = _values(case)
    try:
        written(values, tmp_path)
    except (AnsibleError, AttributeError, KeyError, TypeError):
        assert _reason(case), f"hub.json cannot represent: {case['says'][0]}"
        return
    said = refusal(tmp_path, monkeypatch)
    # Both ways: an unnecessary entry would hide the next gap.
    assert bool(said) != bool(_reason(case)), f"{case['says'][0]}: {said or 'the Hub accepts it'}"
    for part in case.get("never", []):
        assert part not in said
    if said and not any(str(case["says"][0]).startswith(each) for each in OTHER_WORDS):
        text = PLACE_OF_A_SETTING.sub("", said)
        assert [part for part in case["says"] if part not in text] == [], said


def test_listed_exceptions_exist() -> None:
    said = [str(case["says"][0]) for case in OF_THE_MODEL]
    assert [start for start in (*ACCEPTED, *OTHER_WORDS) if not any(each.startswith(start) for each in said)] == []
    names = [name for name in preflight.SPECS.options if name not in OF_THE_HUB]
    assert [start for start in NOT_OF_THE_HUB if not any(name.startswith(start) for name in names)] == []


@pytest.mark.parametrize(
    "test",
    [
        preflight.test_intended_settings_are_accepted,
        preflight.test_intended_access_is_accepted,
        preflight.test_intended_ingress_is_accepted,
        preflight.test_the_operators_own_class_may_have_a_similar_name,
        preflight.test_the_right_callback_url_is_accepted,
        *(
            partial(preflight.test_minimal_settings_on_a_good_machine_are_accepted, base)
            for base in preflight.BASES.values()
        ),
    ],
)
def test_the_hub_accepts_what_preflight_accepts(
    test: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problems(values: Mapping[str, Any], *machine: Any) -> list[str]:
        written(values, tmp_path)
        try:
            load(tmp_path / "hub.json", tmp_path)
        except SettingsError as error:
            return str(error).splitlines()
        return []

    monkeypatch.setattr(preflight, "problems", problems)
    test()
