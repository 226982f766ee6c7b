"""What preflight refuses, the Hub's own settings refuse: there is one set of rules for playbook and Compose.

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
from plugins.filter import image_plan

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

# --- what hub.json cannot say, by settings

NOT_OF_THE_HUB = {
    "jupyterhub_root": "a folder of the machine, which the Hub does not know",
    "hub_github_callback_url": "only compared with what follows from public.url",
    "docker_": "settings of the engine",
    "images_": "how images are made; Compose has its Dockerfile",
    "ingress_": "the way in is another container's; Compose has Coolify or the operator's own proxy",
    "preflight_": "limits of checks of the machine",
}
"""Settings, or how their names begin, and why no key of hub.json carries them."""
OF_THE_HUB = {"images_environments"}

# --- and by rows: how what is said begins

DATES = "JSON has no dates"
LOST = "the role images makes another form of it, or fails; what is left, the Hub's own types refuse"
MADE = "how an image is made is not said in hub.json"
PLACE = "hub.json's public.address is the proxy's own, and not where Compose or a way in publishes it"
WAYS = "who speaks HTTPS is not said in hub.json"
UNREAD = "of a login that is not in use, hub.json has no keys, and its secrets are not read"
FOLDERS = "jupyterhub_root and the engine's folder are not in hub.json"
ADMIN = "Compose asks for one of ALLOWED_GITHUB_ORGS and ADMIN_GITHUB_USERS (compose/README.md)"
ACCEPTED = {
    "github_client_secret: is called": "another name of the secret; without it there is no file, which the Hub tells",
    "hub_github_client_secret: is not set": "there is no file then, which the Hub tells",
    "hub_github_client_secret: has spaces, quotes or line breaks": "a file may end in a line break",
    "hub_traits.JupyterHub.since": DATES,
    'jupyterhub_url: is "http://127.0.0.1:8000", which': PLACE,
    "jupyterhub_url: uses https on port": PLACE,
    "hub_github_callback_url: does not match jupyterhub_address": "only compared with what follows from public.url",
    "administrators: the Hub would have none": ADMIN,
    "hub_github_client_id: only applies with": UNREAD,
    "hub_github_allowed_organizations: only applies with": UNREAD,
    "hub_membership_interval_s: only applies with": UNREAD,
    "hub_user_password: only applies with": UNREAD,
    "images_environments: must be a list": LOST,
    'images_environments[1] (slug "geo").pip': MADE,
    "images_environments[1]: must be a mapping": LOST,
    'images_environments[0]: lacks the key "slug"': LOST,
    'images_environments[1] (slug "geo"): does not say where its image comes from': MADE,
    'images_environments[1] (slug "geo"): has 2 sources of its image': MADE,
    "base is built in": MADE,
    'images_environments[1] (slug "geo"): there is no Dockerfile': MADE,
    'images_environments[1] (slug "geo"): image_of does not name an environment': MADE,
    'images_environments[2] (slug "geo2"): has the same content': MADE,
    'images_environments[1] (slug "geo").groups: is empty': "an empty list is what hub.json has where nothing is said",
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
    "jupyterhub_url: is not a host that a certificate": WAYS,
    "jupyterhub_address: is an IPv6 address": PLACE,
    "ingress_caddy: hub_traits gives each user a subdomain": WAYS,
    "ingress_trusted_proxies: is empty": WAYS,
}
"""What preflight refuses and the Hub takes, and why: what the rule is about is not in hub.json."""
CONFIG = IMAGES / "hub/jupyterhub_config.py"
OTHER_WORDS = {
    "GITHUB_CLIENT_ID: is called": "hub.json has the setting's name alone, which is not there",
    "hub_github_client_id: is empty": "what is empty is not in hub.json",
    "hub_default_environment: is empty": "what is empty is not in hub.json",
    "hub_github_client_secret: must be a string": "what is in a file is one",
    "proxy_token: must be a string": "what is in a file is one",
    "jupyterhub_url: is not set, but jupyterhub_address": "hub.json has the address that follows then",
    'images_environments[1] (slug "geo"): unknown key "pipp"': "the Hub knows other keys: it builds nothing",
    "hub_authenticator: is shared-password, with which": "the Hub looks at addresses in place of ingress_mode",
}
"""What the Hub refuses in other words than preflight, and why."""
PLACE_OF_A_SETTING = re.compile(r" \((hub\.json|/[^)]*)\)")


def _is_of_the_hub(name: str) -> bool:
    """Return whether a setting that there is gets into hub.json or the Hub's secrets."""
    return name in preflight.SPECS.options and (
        name in OF_THE_HUB or not any(name.startswith(each) for each in NOT_OF_THE_HUB)
    )


def _catalogue(entries: Any) -> Any:
    """Return the environments as the role images hands them to the Hub, each image under its maker's name."""
    plan: dict[str, Any] = defaultdict(lambda: {"ref": "jupyterhub/env-x:0"})
    return image_plan.images_catalogue(entries, plan, files=str(compose.FILES))


def written(values: Mapping[str, Any], folder: Path) -> None:
    """Write settings on top of the defaults as the roles do.

    Raises:
        TypeError, AnsibleError, AttributeError, KeyError: hub.json cannot carry them.
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
    """What the Hub says of what is written: its model, and the check that it runs before it starts."""
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
        assert _reason(case), f"cannot be said in hub.json: {case['says'][0]}"
        return
    said = refusal(tmp_path, monkeypatch)
    # Both ways: what is listed for nothing hides the next hole.
    assert bool(said) != bool(_reason(case)), f"{case['says'][0]}: {said or 'the Hub takes it'}"
    for part in case.get("never", []):
        assert part not in said
    if said and not any(str(case["says"][0]).startswith(each) for each in OTHER_WORDS):
        text = PLACE_OF_A_SETTING.sub("", said)
        assert [part for part in case["says"] if part not in text] == [], said


def test_what_is_listed_is_there() -> None:
    said = [str(case["says"][0]) for case in OF_THE_MODEL]
    assert [start for start in (*ACCEPTED, *OTHER_WORDS) if not any(each.startswith(start) for each in said)] == []
    names = [name for name in preflight.SPECS.options if name not in OF_THE_HUB]
    assert [start for start in NOT_OF_THE_HUB if not any(name.startswith(start) for name in names)] == []


@pytest.mark.parametrize(
    "test",
    [
        preflight.test_settings_that_are_meant_are_no_problem,
        preflight.test_access_that_is_meant_is_no_problem,
        preflight.test_ways_in_that_are_meant_are_no_problem,
        preflight.test_a_class_of_the_operators_own_may_have_a_name_like_another,
        preflight.test_the_callback_url_may_be_written_where_it_is_right,
        *(
            partial(preflight.test_few_settings_on_a_good_machine_are_no_problem, base)
            for base in preflight.BASES.values()
        ),
    ],
)
def test_the_hub_takes_what_preflight_takes(
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
