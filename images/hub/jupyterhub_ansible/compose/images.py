"""The images of environments that Compose builds together with the Hub, found by their labels.

Coolify names each build differently (<resource>_<service>:<commit>) and removes old ones.  The catalogue uses a fixed
name, which is tagged onto the latest build.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from logging import Logger
from typing import Any

import docker

from ..engine.errors import DOCKER_ERRORS
from ..engine.labels import KIND, PROJECT

ENVIRONMENT = "jupyterhub-ansible.environment"
HASH = "jupyterhub-ansible.content-hash"
TAG = "built"
KEPT = 2
"""Images kept for each environment: the latest, and the one before it to roll back to."""


def reference(project: str, slug: str) -> str:
    """Return the catalogue's name for the image of an environment."""
    return f"{project}/env-{slug}:{TAG}"


def slug_of(project: str, image: str) -> str | None:
    """Return the slug of the environment from its image's fixed name; None for any other image."""
    slug = image.removeprefix(f"{project}/env-").removesuffix(f":{TAG}")
    return slug if reference(project, slug) == image else None


def chosen(found: Collection[Mapping[str, Any]], content_hash: str | None) -> Mapping[str, Any] | None:
    """Return the image built from the same commit as this Hub, else the latest; `found` as from `inspect_image`."""
    built = [image for image in found if any(_named_by_builds(image)) or not image["RepoTags"]]
    # After a rollback to an older commit, the latest image is not the matching one.
    ours = [image for image in built if image["Config"]["Labels"].get(HASH) == content_hash]
    return max(ours or built, key=_age, default=None)


def _age(image: Mapping[str, Any]) -> tuple[str, str]:
    # The time of tagging, because an image built from the cache keeps the creation time of the cached one.
    return image["Metadata"]["LastTagTime"], image["Created"]


def _named_by_builds(image: Mapping[str, Any]) -> list[bool]:
    """Return for each name of an image whether Compose (`<name>-env-base:latest`), Coolify or we gave it.

    An image that somebody built on ours inherits our labels.
    """
    name = re.escape(f"env-{image['Config']['Labels'][ENVIRONMENT]}")
    own = re.compile(rf"[^/:]+[-_]{name}:[^/:]+|[^/:]+/{name}:{TAG}")
    return [bool(own.fullmatch(each)) for each in image["RepoTags"] or []]


def superfluous(found: Collection[Mapping[str, Any]], used: Collection[str]) -> list[Mapping[str, Any]]:
    """Return the replaced images of environments, except those that are kept.

    Args:
        found: images with our labels, as from `inspect_image`.
        used: ids and names of images that must stay.
    """
    by_slug: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for image in sorted(found, key=_age, reverse=True):
        if all(_named_by_builds(image)):
            by_slug[image["Config"]["Labels"][ENVIRONMENT]].append(image)
    old = [image for images in by_slug.values() for image in images[KEPT:]]
    return [image for image in old if not {image["Id"], *(image["RepoTags"] or [])} & {*used}]


class Images:
    """The images that this Hub's catalogue refers to by a fixed name."""

    def __init__(self, client: docker.APIClient, project: str, hashes: Mapping[str, str], log: Logger) -> None:
        self.client, self.project, self.hashes, self.log = client, project, hashes, log

    def tag(self, images: Collection[str], *, refresh: bool = True) -> list[str]:
        """Tag the latest builds with the catalogue's names; return the names for which there is no image.

        Args:
            images: references; those of images from elsewhere are ignored.
            refresh: also move a tag that exists already to a later build.
        """
        return [image for image in sorted(images) if not self._tag(image, refresh=refresh)]

    def _tag(self, image: str, *, refresh: bool) -> bool:
        slug = slug_of(self.project, image)
        if slug is None or (not refresh and self.client.images(image)):
            return True
        last = chosen(self._labelled(f"{ENVIRONMENT}={slug}"), self.hashes.get(slug))
        if last is None:
            return False
        repository, _, tag = image.rpartition(":")
        self.client.tag(last["Id"], repository, tag, force=True)
        self.log.info("Environment %s: image %s (%s)", slug, last["Id"], ", ".join(last["RepoTags"] or ["no name"]))
        return True

    def _labelled(self, environment: str) -> list[Mapping[str, Any]]:
        wanted = [f"{PROJECT}={self.project}", f"{KIND}=environment", environment]
        return [self.client.inspect_image(each["Id"]) for each in self.client.images(filters={"label": wanted})]

    def remove_old(self, images: Collection[str]) -> None:
        """Remove images that later builds replaced: Coolify's clean-up skips them, even unused ones.

        A failure is logged, and retried the next time.

        Args:
            images: references that the catalogue knows.
        """
        containers = self.client.containers(all=True)
        for image in superfluous(self._labelled(ENVIRONMENT), {*images, *(each["ImageID"] for each in containers)}):
            try:
                # By name: Docker removes the image with its last name, unless a container uses it.
                for name in image["RepoTags"] or [image["Id"]]:
                    self.client.remove_image(name)
            except DOCKER_ERRORS as error:
                self.log.warning("The old image %s cannot be removed: %s", image["Id"], error)
            else:
                self.log.info("Removed the old image %s (%s)", image["Id"], ", ".join(image["RepoTags"] or ["no name"]))
