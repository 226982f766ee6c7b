"""The time of a first run, which builds all images, compared with the sum of its parts."""

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

# The same image under another name, so that images of other Hubs on this machine are not reused.
SYSTEM = "library/debian:trixie-slim"


def _as_new(mark: str) -> dict[str, str]:
    """Return settings with which no existing image or cached layer is reused, though the content is the same.

    The bundle of certificate authorities is copied into the first image first, so a comment in it invalidates the
    layer cache.
    """
    bundle = ARTEFACTS / f"ca-bundle-{mark}.crt"
    authorities = Path(_defaults()["images_ca_bundle"])
    bundle.write_text(f"# {mark} {time.time()}\n" + (authorities.read_text() if authorities.is_file() else ""))
    return {"images_base": SYSTEM, "images_refresh_date": mark, "images_ca_bundle": str(bundle)}


def _defaults() -> dict[str, Any]:
    defaults: dict[str, Any] = yaml.safe_load((PROJECT / "roles/images/defaults/main.yml").read_text())
    return defaults


def _parts() -> dict[str, float]:
    """Build each image separately, with the role's code; return the seconds for each, including its test."""
    plan_filters = image_plan
    settings = _as_new("2000-01-02")
    plan = plan_filters.images_plan(_defaults()["images_environments"], NAME, SYSTEM, settings["images_refresh_date"])
    # The date changes all other images' tags; this one would be found, so it is renamed meanwhile.
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
        builder.clean_up(list(plan.values()))
    docker("image", "rm", *(image["ref"] for image in plan.values()))
    docker("tag", aside, system)
    docker("image", "rm", aside)
    return seconds


def measure(say: Callable[[str], Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the measured seconds, and the arguments that the remaining Hub was deployed with."""
    remove(images=True)
    arguments = [argument for key, value in _as_new("2000-01-01").items() for argument in ("-e", f"{key}={value}")]
    say("first run: the whole run")
    first = playbook(*arguments)
    say(f"first run: {first.seconds:.0f} s; now with all images present")
    remove(images=False)
    rest = playbook(*arguments)
    say(f"first run: {rest.seconds:.0f} s with all images present; now each image separately")
    return {"first_s": first.seconds, "images_s": _parts(), "rest_s": rest.seconds}, arguments
