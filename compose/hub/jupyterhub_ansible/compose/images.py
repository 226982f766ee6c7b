"""The images of environments that Compose builds beside the Hub, found by their labels.

Coolify gives each built image a name of its own (<resource>_<service>:<commit>), and removes old ones; the catalogue
knows them by a name that does not change, which is put on the one that was built last.
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
    """Return the image that belongs to this Hub, or else the last: `found` is as Docker describes images."""
    # After a return to an older commit, the last is not the one that goes with it.
    ours = [image for image in found if (image["Config"]["Labels"] or {}).get(HASH) == content_hash]
    # Whatever it was built from gets a name, at that moment; what was built anew from a cache is as old as that.
    return max(ours or found, key=lambda image: (image["Metadata"]["LastTagTime"], image["Created"]), default=None)


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
        wanted = [f"{PROJECT}={self.project}", f"{KIND}=environment", f"{ENVIRONMENT}={slug}"]
        listed = self.client.images(filters={"label": wanted})
        last = chosen([self.client.inspect_image(each["Id"]) for each in listed], self.hashes.get(slug))
        if last is None:
            return False
        repository, _, tag = image.rpartition(":")
        self.client.tag(last["Id"], repository, tag, force=True)
        self.log.info("Environment %s: image %s (%s)", slug, last["Id"], ", ".join(last["RepoTags"] or ["no name"]))
        return True
