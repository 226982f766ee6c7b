"""The catalogue of environments as the Hub reads it, with the contents of their images."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyterhub_ansible.settings.model import Environment
from unit.test_image_plan import BASE, SCIENCE, hashes, plan

from plugins.filter.image_catalogue import images_catalogue
from plugins.filter.image_plan import images_refs


def test_catalogue_for_the_hub() -> None:
    brought: dict[str, Any] = {"slug": "x", "title": "X", "image": "a/b:1", "home": "/home/me", "idle_timeout_s": 0}
    catalogue = [BASE, brought]
    [base, ready] = images_catalogue(catalogue, plan(*catalogue))
    assert base["image"].startswith("hub1/env-base:")
    assert (ready["image"], ready["home"]) == ("a/b:1", "/home/me")
    # 0 (never) is not the same as unset.
    assert ("idle_timeout_s" in base, ready["idle_timeout_s"]) == (False, 0)
    # Images of others may report their activity wrongly, or not at all.
    assert (base["tells_activity"], ready["tells_activity"]) == (True, False)


def test_profiles_of_one_image() -> None:
    """Another page, size or group does not need another image."""
    lab = {"slug": "marimo", "title": "marimo", "image_of": "base", "default_url": "/marimo/"}
    assert hashes(plan(BASE, lab)) == hashes(plan(BASE))
    catalogue = [BASE, lab]
    [base, marimo] = images_catalogue(catalogue, plan(*catalogue))
    assert marimo["image"] == base["image"]
    assert marimo["default_url"] == "/marimo/"


def test_a_profile_of_a_ready_image() -> None:
    catalogue = [{"slug": "x", "title": "X", "image": "a/b:1"}, {"slug": "y", "title": "Y", "image_of": "x"}]
    made = plan(*catalogue)
    assert "env-y" not in made
    assert "env-base" not in made
    assert [entry["image"] for entry in images_catalogue(catalogue, made)] == ["a/b:1", "a/b:1"]


@pytest.mark.parametrize("slug", ["base", "datascience"])
def test_a_profile_of_an_image_that_is_not_offered_itself(slug: str) -> None:
    catalogue = [{"slug": "marimo", "title": "marimo", "image_of": slug}]
    made = plan(*catalogue)
    assert hashes(made) == hashes(plan(BASE, *([SCIENCE] if slug == "datascience" else [])))
    assert images_catalogue(catalogue, made)[0]["image"] == made[f"env-{slug}"]["ref"]


def test_other_keys_are_passed_on() -> None:
    entry = {
        **BASE,
        "sizes": [
            {"slug": "very-small", "memory_mb": 512, "cpus": 0.5},
            {"slug": "l", "title": "Large", "memory_mb": 1024, "cpus": 1},
        ],
        "groups": ["acme:data"],
        "users": ["ann"],
        "environment": {"A": "b"},
        "mounts": [{"source": "/srv/data", "target": "/data"}, {"source": "v", "target": "/v", "read_only": False}],
        "gpus": 1,
    }
    [passed] = images_catalogue([entry], plan(entry))
    assert {key: passed[key] for key in entry} == entry
    known = Environment.model_validate(passed)
    assert [size.name for size in known.sizes] == ["Very small", "Large"]
    assert [mount.read_only for mount in known.mounts] == [True, False]
    # The Hub accepts it, and an entry without optional keys.
    for each in images_catalogue([entry, SCIENCE], plan(entry, SCIENCE)):
        Environment.model_validate_json(json.dumps(each))


FOUND = {
    "programs": {"Python": "3.13.5"},
    "packages": {
        "julia": "0.6",
        "jupyterlab": "4.6.6",
        "numpy": "2.4.6",
        "scikit-learn": "1.9",
        "tornado": "6",
        "cowsay": "6.1",
    },
    "debian": {"gdal-bin": "3.10", "libc6": "2.41"},
}


def listed(entry: dict[str, Any], *others: dict[str, Any]) -> list[str]:
    catalogue = [entry, *others]
    made = plan(*catalogue)
    contents = dict.fromkeys(images_refs(made), FOUND)
    return [each["name"] for each in images_catalogue(catalogue, made, contents)[0]["contents"]]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (BASE, []),
        (SCIENCE, ["numpy", "scikit-learn"]),
        ({"slug": "y", "title": "Y", "image_of": "datascience"}, ["numpy", "scikit-learn"]),
        # The requested packages, whatever else is there.
        (
            {
                "slug": "g",
                "title": "G",
                "pip": ["cowsay>=6", "Scikit_Learn[x]", "git+https://x/numpy", "gone"],
                "apt": ["gdal-bin"],
            },
            ["cowsay", "scikit-learn", "gdal-bin"],
        ),
        # Of a ready-made image, well-known packages.
        ({"slug": "r", "title": "R", "image": "a/b:1"}, ["numpy", "scikit-learn"]),
    ],
)
def test_contents(entry: dict[str, Any], names: list[str]) -> None:
    assert listed(entry) == ["Python", "JupyterLab", *names]


def test_without_a_listing_the_contents_are_empty() -> None:
    assert images_catalogue([BASE], plan(BASE))[0]["contents"] == []
