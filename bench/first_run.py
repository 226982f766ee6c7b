"""A first run, for which every image is missing, against the sum of its parts, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from e2e.deployment import docker

from plugins.filter import image_plan
from plugins.modules import image_builds

from .project import ARTEFACTS, NAME, PROJECT, playbook, remove

# Another name of the same: what other Hubs of this machine have is not taken over.
SYSTEM = "library/debian:trixie-slim"


def _as_new(mark: str) -> dict[str, str]:
    """Return settings that make all images differ from those that are here, though what is in them is the same.

    A comment in the bundle of certificate authorities, which is copied first into the first image, keeps the builder's
    cache of layers out.
    """
    bundle = ARTEFACTS / f"ca-bundle-{mark}.crt"
    authorities = Path(_defaults()["images_ca_bundle"])
    bundle.write_text(f"# {mark} {time.time()}\n" + (authorities.read_text() if authorities.is_file() else ""))
    return {"images_base": SYSTEM, "images_refresh_date": mark, "images_ca_bundle": str(bundle)}


def _defaults() -> dict[str, Any]:
    defaults: dict[str, Any] = yaml.safe_load((PROJECT / "roles/images/defaults/main.yml").read_text())
    return defaults


def _parts() -> dict[str, float]:
    """Make each image alone, with the role's own code; seconds of each, its trial included."""
    plan_filters = image_plan
    settings = _as_new("2000-01-02")
    plan = plan_filters.images_plan(_defaults()["images_environments"], NAME, SYSTEM, settings["images_refresh_date"])
    # All others have hashes of their own by their date; this one would be found, and is put aside.
    system, aside = plan["os"]["ref"], f"{NAME}/os:aside"
    docker("tag", system, aside)
    docker("image", "rm", system)
    logs = ARTEFACTS / "builds"
    logs.mkdir(exist_ok=True)
    builder = image_builds.Builder({}, Path(settings["images_ca_bundle"]), logs)
    seconds = {}
    try:
        for image in plan_filters.images_packed(list(plan.values())):
            begin = time.perf_counter()
            builder.make(image, logs / f"{image['name']}.log")
            seconds[image["name"]] = time.perf_counter() - begin
    finally:
        builder.clean_up()
    docker("image", "rm", *(image["ref"] for image in plan.values()))
    docker("tag", aside, system)
    docker("image", "rm", aside)
    return seconds


def measure(say: Callable[[str], Any]) -> tuple[dict[str, Any], list[str]]:
    """Measure it; the arguments with which the Hub that is left was deployed come with the result."""
    remove(images=True)
    arguments = [word for key, value in _as_new("2000-01-01").items() for word in ("-e", f"{key}={value}")]
    say("first run: all at once")
    first = playbook(*arguments)
    say(f"first run: {first.seconds:.0f} s; now with the images present")
    remove(images=False)
    rest = playbook(*arguments)
    say(f"first run: {rest.seconds:.0f} s with the images present; now each image alone")
    return {"first_s": first.seconds, "images_s": _parts(), "rest_s": rest.seconds}, arguments
