"""Profiles: what a choice sets on the spawner, and who may make it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from dockerspawner import DockerSpawner
from jupyterhub_ansible.settings.model import Environment, Mount, Size
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.profiles import ProfileSpawner
from traitlets.config import Config

BASE = Environment(slug="base", title="Base", description="", image="x/base:1", default_url="/lab", home="/home/jovyan")
SIZED = BASE.model_copy(
    update={"slug": "sized", "sizes": (Size(slug="large", title="Large", memory_mb=4096, cpus=1.5),)}
)
STAFF = Environment(
    slug="staff",
    title="Staff",
    description="",
    image="x/staff:1",
    default_url="/marimo/",
    home="/data/home",
    groups=frozenset({"acme:staff"}),
    environment={"FOLDER": "/srv", "COMMON": "staff's"},
    mounts=(
        Mount(source="/srv/data", target="/srv/data", read_only=True),
        Mount(source="shared", target="/shared", read_only=False),
    ),
    gpus=2,
)


FREE = {"acme:staff": ["ghcr.io/acme/*"]}


class Spawner(ProfileSpawner):
    """A spawner without a running Hub."""

    def get_env(self) -> dict[str, str]:
        return super().get_env()


def spawner(*groups: str, stored: dict[str, Any] | None = None, server: str = "", **traits: Any) -> Any:
    settings = {
        "profiles": {"base": BASE, "sized": SIZED, "staff": STAFF},
        "default_profile": "base",
        "mem_limit": "1G",
        "cpu_limit": 2,
        "pull_policy": "never",
        **traits,
    }
    return Spawner(
        user=SimpleNamespace(name="ann", url="/user/ann/", groups=[SimpleNamespace(name=name) for name in groups]),
        orm_spawner=SimpleNamespace(name=server, display_name=server.upper(), server=None, user_options=stored),
        config=Config({"ProfileSpawner": settings}),
    )


def started(made: Any, options: dict[str, Any], by_api: bool = False) -> Any:
    """Return the spawner after JupyterHub applied these options, either stored or from a request."""
    body = {"display_name": None, "user_options": options}
    made.handler = SimpleNamespace(get_server_json_body=lambda: body) if by_api else None
    made.apply_user_options(made, options)
    return made


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DockerSpawner, "get_env", lambda self: {"COMMON": "everybody's", "USER": "ann"})


def test_settings_from_an_environment(env: None) -> None:
    made = started(spawner("acme:staff"), {"profile": "staff"})
    assert (made.image, made.default_url, made.notebook_dir) == ("x/staff:1", "/marimo/", "/data/home")
    assert made.get_env() == {"COMMON": "staff's", "USER": "ann", "FOLDER": "/srv"}
    assert [(m["Type"], m["Source"], m["Target"], m["ReadOnly"]) for m in made.mount_binds] == [
        ("bind", "/srv/data", "/srv/data", True),
        ("volume", "shared", "/shared", False),
    ]
    assert [m.get("VolumeOptions") for m in made.mount_binds] == [None, {"NoCopy": True}]
    assert made.notice == ""


def test_settings_from_a_size() -> None:
    made = started(spawner(), {"profile": "sized", "size": "large"})
    assert (made.mem_limit, made.cpu_limit) == (4096 * 1024**2, 1.5)
    assert started(spawner(), {"profile": "base"}).mem_limit == 1024**3


def test_an_environment_without_anything_of_its_own(env: None) -> None:
    made = started(spawner(), {})
    assert made.image == "x/base:1"
    assert made.get_env() == {"COMMON": "everybody's", "USER": "ann"}
    assert made.mount_binds == []


@pytest.mark.parametrize(("name", "slug"), [("ann", "ann"), ("../Ann {x}", "ann-x---20dc2710e1724c1c")])
def test_the_user_s_name_in_variables_and_mounts(monkeypatch: pytest.MonkeyPatch, name: str, slug: str) -> None:
    mounts = (Mount(source="/srv/data/{username}", target="/data"), Mount(source="cache-{username}", target="/cache"))
    variables = {"CACHE": "s3://x/{username}/{username}", "JSON": '{"a": {}, "b": "{user}"}'}
    own = BASE.model_copy(update={"slug": "own", "mounts": mounts, "environment": variables})
    given = {"COMMON": "~{username}", "OTHER": "{username}"}
    # An authenticator may have set the second one otherwise.
    monkeypatch.setattr(DockerSpawner, "get_env", lambda self: {**given, "OTHER": "not {username}", "USER": "ann"})
    made = spawner(profiles={"base": BASE, "own": own}, environment=given)
    made.user.name = name
    started(made, {"profile": "own"})
    assert [mount["Source"] for mount in made.mount_binds] == [f"/srv/data/{slug}", f"cache-{slug}"]
    assert made.own_volumes == {f"cache-{slug}"}
    found = made.get_env()
    assert (found["CACHE"], found["JSON"]) == (f"s3://x/{slug}/{slug}", variables["JSON"])
    assert (found["COMMON"], found["OTHER"], found["USER"]) == (f"~{slug}", "not {username}", "ann")


@pytest.mark.parametrize("gpus", [0, 2, -1])
def test_gpus(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    seen = []

    async def create(self: Any) -> None:
        seen.append(dict(self.extra_host_config))

    monkeypatch.setattr(DockerSpawner, "create_object", create)
    profiles = {"base": BASE.model_copy(update={"gpus": gpus})}
    made = started(spawner(profiles=profiles, extra_host_config={"devices": []}), {})
    asyncio.run(made.create_object())
    [config] = seen
    requests = config.pop("device_requests", [])
    assert [(request["Count"], request["Capabilities"]) for request in requests] == (
        [(gpus, [["gpu"]])] if gpus else []
    )
    assert config == made.extra_host_config == {"devices": []}


# --- restricted environments


def test_users_of_environments_by_authenticator_names() -> None:
    """The new owner of an abandoned login gets nothing (GitHubMemberAuthenticator.names)."""
    own = STAFF.model_copy(update={"groups": frozenset(), "users": frozenset({"anna"})})
    ann = spawner(profiles={"base": BASE, "staff": own})
    assert set(ann.catalogue().environments) == {"base"}
    ann.authenticator = SimpleNamespace(names=lambda name: {name, f"{name}a"})
    assert set(ann.catalogue().environments) == {"base", "staff"}


def test_the_page_shows_what_is_open_to_the_user() -> None:
    assert 'value="staff"' not in spawner().options_form(spawner())
    member = spawner("acme:staff")
    assert 'value="staff"' in member.options_form(member)


def test_a_restricted_environment_is_refused_by_form_link_and_api() -> None:
    unknown = r"There is no environment of that name\. Choose one of: base, sized\."
    with pytest.raises(SpawnError, match=unknown) as refused:
        spawner().run_options_from_form({"profile": ["staff"]})
    assert refused.value.status_code == 400
    with pytest.raises(SpawnError, match=unknown):
        spawner().options_from_query({"profile": ["staff"]})
    with pytest.raises(SpawnError, match=unknown):
        started(spawner(), {"profile": "staff"}, by_api=True)


def test_link_cannot_start_a_free_image_or_the_default() -> None:
    member = spawner("acme:staff", free_images=FREE)
    assert member.options_from_query({"profile": ["staff"]}) == {"profile": "staff"}
    with pytest.raises(SpawnError, match="A link cannot start an image of your own"):
        member.options_from_query({"image": ["ghcr.io/acme/a:1"]})
    # As after a failed form submission.
    with pytest.raises(SpawnError, match="Please choose an environment"):
        member.options_from_query({"_xsrf": ["token"]})


def test_user_who_left_the_group_gets_the_default_and_a_notice() -> None:
    made = spawner(stored={"profile": "staff"})
    told = "The environment staff, which you used last, is no longer offered"
    assert f"{told}: Base takes its place." in made.options_form(made)
    started(made, {"profile": "staff"})
    assert made.image == "x/base:1"
    assert made.notice == f"{told}: Base takes its place."
    # From now on, base is the last choice.
    assert told not in made.options_form(made)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"profile": "staff"}, {"profile": "base"}),
        ({}, {"profile": "base"}),
        ({"profile": "sized", "size": "gone"}, {"profile": "sized", "size": "large"}),
        ({"profile": "sized", "size": "large"}, {"profile": "sized", "size": "large"}),
    ],
)
def test_resolved_choice_is_stored(options: dict[str, Any], kept: dict[str, Any]) -> None:
    # The culler and UserProxy read it.
    made = started(spawner(stored=options), options)
    assert made.user_options == made.orm_spawner.user_options == kept


def test_user_without_any_environment() -> None:
    made = spawner(profiles={"staff": STAFF}, default_profile="staff")
    with pytest.raises(SpawnError, match="No environment is open to you here") as refused:
        made.options_form(made)
    assert refused.value.status_code == 403


def test_the_last_choice_is_preselected() -> None:
    made = spawner(stored={"profile": "sized", "size": "large"})
    assert (
        'value="sized"\n                 aria-describedby="profile-sized-about" required checked'
        in made.options_form(made)
    )


def test_form_shows_the_servers_name() -> None:
    assert "This is for your server" not in spawner().options_form(spawner())
    second = spawner(server="second")
    assert "<strong>SECOND</strong>" in second.options_form(second)


# --- freely chosen images


def test_freely_chosen_image_is_pulled() -> None:
    made = started(spawner("acme:staff", free_images=FREE), {"image": "ghcr.io/acme/a:1"}, by_api=True)
    assert (made.image, made.pull_policy, made.mem_limit) == ("ghcr.io/acme/a:1", "ifnotpresent", 1024**3)
    assert started(spawner("acme:staff", free_images=FREE), {"profile": "base"}).pull_policy == "never"


@pytest.mark.parametrize("groups", [[], ["acme:staff"]])
def test_dockerspawner_uses_no_image_from_stored_options(groups: list[str]) -> None:
    """DockerSpawner.start reads `image` from the options itself, where users can store anything."""
    made = started(spawner(*groups, free_images=FREE), {"image": "evil.io/x:1"})
    assert asyncio.run(made.check_allowed("evil.io/x:1")) == "x/base:1"
    assert made.notice.startswith("The image evil.io/x:1, which you used last")
