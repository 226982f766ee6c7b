"""The images of environments that Compose builds beside the Hub, found by their labels.

Coolify gives each built image a name of its own (<resource>_<service>:<commit>), and removes old ones; the catalogue
knows them by a name that does not change, which is put on the one that was built last.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from logging import Logger
from typing import Any

import docker

from ..spawner.failures import DOCKER_ERRORS
from ..engine.labels import KIND, PROJECT

ENVIRONMENT = "jupyterhub-ansible.environment"
HASH = "jupyterhub-ansible.content-hash"
TAG = "built"
KEPT = 2
"""Images of an environment that stay: the last, and the one before, as a way back."""


def reference(project: str, slug: str) -> str:
    """Return the name by which the catalogue knows the image of an environment."""
    return f"{project}/env-{slug}:{TAG}"


def slug_of(project: str, image: str) -> str | None:
    """Return the slug of the environment that an image of this name was built for; None if it is no such name."""
    slug = image.removeprefix(f"{project}/env-").removesuffix(f":{TAG}")
    return slug if reference(project, slug) == image else None


def chosen(found: Collection[Mapping[str, Any]], content_hash: str | None) -> Mapping[str, Any] | None:
    """Return the image that belongs to this Hub, or else the last: `found` is as Docker describes images."""
    built = [image for image in found if any(_named_by_builds(image)) or not image["RepoTags"]]
    # After a return to an older commit, the last is not the one that goes with it.
    ours = [image for image in built if image["Config"]["Labels"].get(HASH) == content_hash]
    return max(ours or built, key=_age, default=None)


def _age(image: Mapping[str, Any]) -> tuple[str, str]:
    # Whatever it was built from gets a name, at that moment; what was built anew from a cache is as old as that.
    return image["Metadata"]["LastTagTime"], image["Created"]


def _named_by_builds(image: Mapping[str, Any]) -> list[bool]:
    """Return for each name of an image whether it is Compose's (`<name>-env-base:latest`), Coolify's or ours.

    What somebody built on top of ours has our labels, too.
    """
    name = re.escape(f"env-{image['Config']['Labels'][ENVIRONMENT]}")
    own = re.compile(rf"[^/:]+[-_]{name}:[^/:]+|[^/:]+/{name}:{TAG}")
    return [bool(own.fullmatch(each)) for each in image["RepoTags"] or []]


def superfluous(found: Collection[Mapping[str, Any]], used: Collection[str]) -> list[Mapping[str, Any]]:
    """Return the images of environments that were replaced, beyond those that are kept.

    Args:
        found: images that carry our labels, as Docker describes them.
        used: ids and names of images that must stay.
    """
    by_slug: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for image in sorted(found, key=_age, reverse=True):
        if all(_named_by_builds(image)):
            by_slug[image["Config"]["Labels"][ENVIRONMENT]].append(image)
    old = [image for images in by_slug.values() for image in images[KEPT:]]
    return [image for image in old if not {image["Id"], *(image["RepoTags"] or [])} & {*used}]


class Images:
    """The images that this Hub's catalogue knows by such a name."""

    def __init__(self, client: docker.APIClient, project: str, hashes: Mapping[str, str], log: Logger) -> None:
        self.client, self.project, self.hashes, self.log = client, project, hashes, log

    def tag(self, images: Collection[str], *, anew: bool = True) -> list[str]:
        """Give those of these names that are built here their names; return those that are nowhere.

        Args:
            images: references, also of images that come from elsewhere.
            anew: where a name is taken, look for a later image.
        """
        return [image for image in sorted(images) if not self._tag(image, anew=anew)]

    def _tag(self, image: str, *, anew: bool) -> bool:
        slug = slug_of(self.project, image)
        if slug is None or (not anew and self.client.images(image)):
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
        """Remove what later builds replaced: Coolify's clean-up spares these images, also while nobody uses them.

        What cannot be removed is told to the log, and tried again the next time.

        Args:
            images: references that the catalogue knows.
        """
        containers = self.client.containers(all=True)
        for image in superfluous(self._labelled(ENVIRONMENT), {*images, *(each["ImageID"] for each in containers)}):
            try:
                # By its names: Docker takes the last one away only with the image, and no image that a container uses.
                for name in image["RepoTags"] or [image["Id"]]:
                    self.client.remove_image(name)
            except DOCKER_ERRORS as error:
                self.log.warning("The old image %s cannot be removed: %s", image["Id"], error)
            else:
                self.log.info("Removed the old image %s (%s)", image["Id"], ", ".join(image["RepoTags"] or ["no name"]))
