"""User options: available environments, and validation of options from form, link and REST API."""

from typing import Any

import pytest
from jupyterhub_ansible.settings.model import Environment, Size
from jupyterhub_ansible.spawner.options import Catalogue, ChoiceError, matches, options_from_form

BASE = Environment(slug="base", title="Base", description="", image="x/base:1", default_url="/lab", home="/home/jovyan")
SMALL = Size(slug="small", title="Small", memory_mb=512, cpus=0.5)
LARGE = Size(slug="large", title="Large", memory_mb=4096, cpus=4)
SIZED = BASE.model_copy(update={"slug": "sized", "title": "Sized", "sizes": (SMALL, LARGE)})
STAFF = BASE.model_copy(update={"slug": "staff", "groups": frozenset({"acme:staff"}), "users": frozenset({"cyd"})})
ALL = {environment.slug: environment for environment in (BASE, SIZED, STAFF)}
FREE = {"acme:staff": ["ghcr.io/acme/*", "python:3.13"]}


def catalogue(user: str = "ann", *groups: str, free: bool = False, default: str = "base") -> Catalogue:
    return Catalogue.of({user}, groups, ALL, default, FREE if free else {})


# --- available environments


@pytest.mark.parametrize(
    ("user", "groups", "slugs"),
    [
        ("ann", [], ["base", "sized"]),
        ("ann", ["acme:others"], ["base", "sized"]),
        ("ann", ["acme:others", "acme:staff"], ["base", "sized", "staff"]),
        ("cyd", [], ["base", "sized", "staff"]),
    ],
)
def test_environments_by_users_and_groups(user: str, groups: list[str], slugs: list[str]) -> None:
    assert list(catalogue(user, *groups).environments) == slugs


def test_default_falls_back_to_the_first_available() -> None:
    assert catalogue(default="staff").choose({}).environment == BASE
    assert catalogue("cyd", default="staff").choose({}).environment == STAFF


def test_nothing_at_all() -> None:
    with pytest.raises(ChoiceError, match="No environment is open to you here"):
        Catalogue.of({"ann"}, [], {"staff": STAFF}, "staff", {})


def test_whether_there_is_a_choice() -> None:
    assert not Catalogue({"base": BASE}, "base").is_a_choice
    assert Catalogue({"base": BASE, "sized": SIZED}, "base").is_a_choice
    assert Catalogue({"sized": SIZED}, "sized").is_a_choice
    assert Catalogue({"base": BASE}, "base", ("python:*",)).is_a_choice


# --- new choices


def test_no_choice_is_the_default_and_its_first_size() -> None:
    assert catalogue().choose({}).environment == BASE
    assert catalogue().choose({"profile": "sized"}).size == SMALL
    assert catalogue().choose({"profile": "sized", "size": "large"}).size == LARGE


UNKNOWN = "There is no environment of that name. Choose one of: base, sized."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "gone"}, UNKNOWN),
        # The same message, so that nobody learns that it exists.
        ({"profile": "staff"}, UNKNOWN),
        ({"profile": ["base"]}, UNKNOWN),
        ({"profile": None}, UNKNOWN),
        (
            {"profile": "sized", "size": "huge"},
            "The environment sized has no size of that name. Choose one of: small, large.",
        ),
        ({"profile": "sized", "size": ["small"]}, "The environment sized has no size of that name."),
        ({"profile": "base", "size": "small"}, "The environment base has no size of that name. It has no sizes."),
        ({"size": "small"}, "The environment base has no size of that name."),
        ({"profile": "base", "image": "evil:1"}, "Unknown option: image. The options are profile, size."),
        ({"image": "evil:1"}, "Unknown option: image. The options are profile, size."),
        ({"mem_limit": "1T"}, "Unknown option: mem_limit."),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ChoiceError) as error:
        catalogue().choose(options)
    assert str(error.value).startswith(message)


# --- freely chosen images


def test_a_member_of_the_group_may_name_an_image() -> None:
    choice = catalogue("ann", "acme:staff", free=True).choose({"image": "ghcr.io/acme/gpu:2"})
    assert (choice.environment.image, choice.size, choice.free_image) == ("ghcr.io/acme/gpu:2", None, True)


@pytest.mark.parametrize(
    "image", ["ghcr.io/acme/gpu/x:2", "ghcr.io/evil/gpu:2", "evil/ghcr.io/acme/gpu", "", None, ["python:3.13"]]
)
def test_other_images_are_refused(image: object) -> None:
    with pytest.raises(ChoiceError, match=r"not allowed. What is allowed: ghcr.io/acme/\*, python:3.13"):
        catalogue("ann", "acme:staff", free=True).choose({"image": image})


def test_other_users_may_not_name_an_image() -> None:
    with pytest.raises(ChoiceError, match="Unknown option: image"):
        catalogue("ann", "acme:others", free=True).choose({"image": "ghcr.io/acme/gpu:2"})


def test_an_image_has_no_profile() -> None:
    with pytest.raises(ChoiceError, match="give image alone"):
        catalogue("ann", "acme:staff", free=True).choose({"image": "ghcr.io/acme/gpu:2", "profile": "staff"})


@pytest.mark.parametrize(
    ("pattern", "reference", "fits"),
    [
        ("ghcr.io/acme/*", "ghcr.io/acme/a", True),
        ("ghcr.io/acme/*", "ghcr.io/acme/a:1", True),
        ("ghcr.io/acme/*", f"ghcr.io/acme/a@sha256:{'0' * 64}", True),
        ("ghcr.io/acme/*", "ghcr.io/acme/", False),
        ("ghcr.io/acme/*", "ghcr.io/acme/a:1 --privileged", False),
        ("ghcr.io/acme/*", "ghcr.io/acme/..", False),
        ("ghcr.io/acme/*", "ghcr.io/acme/A", False),
        ("ghcr.io/acme/*", "ghcrxio/acme/a", False),
        ("ghcr.io/acme/*", f"ghcr.io/acme/{'a' * 600}", False),
        ("host:5000/*/lab:*", "host:5000/team/lab:1.2", True),
        ("host:5000/*/lab:*", "host:5000/team/lab", False),
        ("host:5000/lab:2026*", f"host:5000/lab:2026@sha256:{'0' * 64}", False),
        ("host:5000/lab:*@sha256:*", f"host:5000/lab:1@sha256:{'0' * 64}", True),
        ("python:3.13", "python:3.13", True),
        ("python:3.13", "python:3.130", False),
    ],
)
def test_patterns(pattern: str, reference: str, fits: bool) -> None:
    assert matches(pattern, reference) is fits


# --- stored choices


def test_a_stored_choice_that_still_stands() -> None:
    for options in ({}, {"profile": "sized", "size": "large"}, {"profile": "sized"}):
        assert catalogue().recall(options) == (catalogue().choose(options), "")
    free = catalogue("ann", "acme:staff", free=True)
    assert free.recall({"image": "python:3.13"}) == (free.choose({"image": "python:3.13"}), "")


@pytest.mark.parametrize(
    ("options", "slug", "size", "notice"),
    [
        (
            {"profile": "gone"},
            "base",
            None,
            "The environment gone, which you used last, is no longer offered: Base takes its place.",
        ),
        ({"profile": "gone", "size": "large"}, "base", None, "The environment gone,"),
        # A user who left the group.
        ({"profile": "staff"}, "base", None, "The environment staff, which you used last, is no longer offered"),
        (
            {"profile": "sized", "size": "huge"},
            "sized",
            SMALL,
            "The size huge, which you used last, is no longer offered: Small takes its place.",
        ),
        (
            {"profile": "base", "size": "huge"},
            "base",
            None,
            "The size huge, which you used last, is no longer offered: there is one size only.",
        ),
        ({"image": "python:3.13"}, "base", None, "The image python:3.13, which you used last, is no longer offered"),
        # Users can store anything (PATCH of a server).
        ({"profile": {"a": 1}}, "base", None, "The environment, which you used last,"),
        ({"profile": "<script>alert(1)</script>"}, "base", None, "The environment, which you used last,"),
    ],
)
def test_a_stored_choice_that_is_gone(options: dict[str, Any], slug: str, size: Size | None, notice: str) -> None:
    choice, told = catalogue().recall(options)
    assert (choice.environment.slug, choice.size) == (slug, size)
    assert told.startswith(notice)


# --- forms and links


def test_form_data() -> None:
    assert options_from_form({"profile": ["odd"], "_xsrf": ["token"]}) == {"profile": "odd"}
    with pytest.raises(ChoiceError):
        options_from_form({"profile": ["base", "odd"]})


def test_the_size_is_that_of_the_chosen_card() -> None:
    sizes = {"size-base": ["small"], "size-odd": ["large"], "image-reference": [""]}
    assert options_from_form({"profile": ["odd"], **sizes}) == {"profile": "odd", "size": "large"}
    assert options_from_form({"profile": ["third"], **sizes}) == {"profile": "third"}


def test_freely_chosen_image_in_the_form() -> None:
    fields = {"size-base": ["small"], "image-reference": [" python:3.13 "]}
    assert options_from_form({"profile": ["_image"], **fields}) == {"image": "python:3.13"}
    assert options_from_form({"profile": ["base"], **fields}) == {"profile": "base", "size": "small"}


def test_a_link() -> None:
    assert options_from_form({"profile": ["odd"], "size": ["large"]}) == {"profile": "odd", "size": "large"}
    assert options_from_form({"image": ["python:3.13"]}) == {"image": "python:3.13"}
