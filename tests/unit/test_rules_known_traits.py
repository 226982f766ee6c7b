"""The table of traits matches the classes of the locked packages."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
import traitlets
from jupyterhub.app import JupyterHub
from jupyterhub.traitlets import ByteSpecification, Callable, Command
from jupyterhub_ansible.rules.known_traits import TABLE, expand, known_classes
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from project import PROJECT
from traitlets.config import Configurable

from bin import traits as writer


def test_the_table_is_fresh() -> None:
    assert TABLE.read_text() == writer.page(), "run: make traits"


@pytest.mark.parametrize("package", ["jupyterhub", "dockerspawner", "oauthenticator", "traitlets"])
def test_table_is_made_from_the_hubs_lock(package: str) -> None:
    lock = (PROJECT / "images/hub/requirements.txt").read_text()
    assert re.findall(rf"^{package}==(\S+)", lock, re.MULTILINE) == [version(package)]


def test_every_class_has_its_traits_and_those_of_its_parents() -> None:
    classes = [JupyterHub, UserServerSpawner, *JupyterHub().classes]
    known = known_classes()
    assert {cls.__name__: cls.class_traits(config=True).keys() for cls in classes} == {
        cls.__name__: known[cls.__name__].keys() for cls in classes
    }


def test_classes_of_settings() -> None:
    known = known_classes()
    assert known["JupyterHub"]["allow_named_servers"] == "bool"
    assert known["Spawner"]["http_timeout"] == "int"
    assert known["DockerSpawner"]["volumes"] == "dict"
    assert known["UserServerSpawner"]["pids_limit"] == "int"
    assert known["UserServerSpawner"]["volumes"] == "dict"
    assert known["GitHubOAuthenticator"]["allowed_organizations"] == "set"
    assert known["GenericOAuthenticator"]["token_url"] == "str"
    assert {"Authenticator", "LocalAuthenticator", "OAuthenticator", "ConfigurableHTTPProxy", "CryptKeeper"} <= set(
        known
    )
    assert known["Authenticator"]["post_auth_hook"] == known["UserServerSpawner"]["pre_spawn_hook"] == "callable|none"
    # The class itself checks it: `legacy` stands for a function.
    assert known["DockerSpawner"]["escape"] == "any"
    # A plain attribute there, not a trait.
    assert "auto_login" in known["Authenticator"]
    assert "auto_login" not in known["NullAuthenticator"]


@pytest.mark.parametrize(
    ("trait", "kind"),
    [
        (traitlets.Bool(), "bool"),
        (traitlets.Integer(), "int"),
        (traitlets.Float(), "float"),
        (traitlets.Unicode(), "str"),
        (traitlets.Unicode(allow_none=True), "none|str"),
        (traitlets.List(), "list"),
        (traitlets.Set(), "set"),
        (traitlets.Tuple(), "tuple"),
        (traitlets.Dict(), "dict"),
        (traitlets.Type(), "str"),
        (traitlets.Enum([0, 10, "INFO"]), "int|str"),
        (traitlets.Callable(), "callable"),
        (traitlets.Union([traitlets.Unicode(), traitlets.Callable()]), "callable|str"),
        (traitlets.Union([traitlets.Any(), traitlets.Callable()]), "any"),
        (traitlets.Bytes(), "any"),
        (traitlets.Any(allow_none=True), "any"),
        (traitlets.Any(help="An optional hook function that you can implement"), "callable|none"),
        (Callable(), "callable"),
        (Command(), "list|str"),
        (ByteSpecification(), "int|none|str"),
    ],
)
def test_kinds(trait: Any, kind: str) -> None:
    assert writer.kind(trait) == kind


def test_table_includes_overridden_traits() -> None:
    class Old(Configurable):
        a = traitlets.Int().tag(config=True)
        b = traitlets.Int().tag(config=True)
        internal = traitlets.Int()

    class Mixin(Configurable):
        b = traitlets.Unicode().tag(config=True)

    class New(Mixin, Old):
        a = 1
        c = traitlets.Bool().tag(config=True)

    table = writer.table([New])
    assert table == {
        "Mixin": {"parents": [], "traits": {"b": "str"}},
        "New": {"parents": ["Mixin", "Old"], "traits": {"a": None, "c": "bool"}},
        "Old": {"parents": [], "traits": {"a": "int", "b": "int"}},
    }
    assert expand(table)["New"] == {"b": "str", "c": "bool"}


def test_classes_with_the_same_name_are_refused() -> None:
    one, other = type("Same", (Configurable,), {}), type("Same", (Configurable,), {})
    with pytest.raises(ValueError, match=r"^Same is both "):
        writer.table([one, other])
