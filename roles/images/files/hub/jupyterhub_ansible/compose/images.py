"""The images of environments that Compose builds beside the Hub, found by their labels.

Coolify gives each built image a name of its own (<resource>_<service>:<commit>), and removes old ones; the catalogue
knows them by a name that does not change, which is put on the newest one.
"""

from collections.abc import Collection, Mapping
from logging import Logger
from typing import Any

import docker

from ..labels import KIND, PROJECT

ENVIRONMENT = "jupyterhub-ansible.environment"
HASH = "jupyterhub-ansible.content-hash"
TAG = "built"


def reference(project: str, slug: str) -> str:
    """Return the name by which the catalogue knows the image of an environment."""
    return f"{project}/env-{slug}:{TAG}"


def slug_of(project: str, image: str) -> str | None:
    """Return the slug of the environment that an image of this name was built for; None if it is no such name."""
    slug = image.removeprefix(f"{project}/env-").removesuffix(f":{TAG}")
    return slug if reference(project, slug) == image else None


def chosen(found: Collection[Mapping[str, Any]], content_hash: str | None) -> Mapping[str, Any] | None:
    """Return the image that belongs to this Hub, or else the newest: `found` is as Docker lists images."""
    # After a return to an older commit, the newest is not the one that goes with it.
    ours = [image for image in found if (image["Labels"] or {}).get(HASH) == content_hash]
    return max(ours or found, key=lambda image: int(image["Created"]), default=None)


class Images:
    """The images that this Hub's catalogue knows by such a name."""

    def __init__(self, client: docker.APIClient, project: str, hashes: Mapping[str, str], log: Logger) -> None:
        self.client, self.project, self.hashes, self.log = client, project, hashes, log

    def tag(self, images: Collection[str], *, anew: bool = True) -> list[str]:
        """Give those of these names that are built here their names; return those that are nowhere.

        Args:
            images: references, also of images that come from elsewhere.
            anew: where a name is taken, look for a newer image.
        """
        return [image for image in sorted(images) if not self._tag(image, anew=anew)]

    def _tag(self, image: str, *, anew: bool) -> bool:
        slug = slug_of(self.project, image)
        if slug is None or (not anew and self.client.images(image)):
            return True
        wanted = [f"{PROJECT}={self.project}", f"{KIND}=environment", f"{ENVIRONMENT}={slug}"]
        newest = chosen(self.client.images(filters={"label": wanted}), self.hashes.get(slug))
        if newest is None:
            return False
        repository, _, tag = image.rpartition(":")
        self.client.tag(newest["Id"], repository, tag, force=True)
        self.log.info("Environment %s: image %s (%s)", slug, newest["Id"], ", ".join(newest["RepoTags"] or ["no name"]))
        return True
