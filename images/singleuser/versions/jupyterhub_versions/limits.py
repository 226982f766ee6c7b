"""How many versions may be kept: the Hub's settings, from the environment."""

import json
from collections.abc import Mapping
from typing import NamedTuple

VARIABLE = "JUPYTERHUB_VERSIONS"
"""JSON of `Limits`, set by the Hub's jupyterhub_ansible.spawner.versions; absent if no versions are kept."""


class Limits(NamedTuple):
    """`per_file`: number of versions of one file; `mb`: MiB of all versions of all files."""

    per_file: int
    mb: int

    @property
    def total(self) -> int:
        """All versions together, in bytes."""
        return self.mb * 1024 * 1024

    @property
    def filled(self) -> int:
        """What stays when room is made: somewhat less, so that it is not made again for each new version."""
        return self.total * 95 // 100

    @property
    def largest(self) -> int:
        """The largest file of which versions are kept, in bytes: four of its versions fit."""
        return self.total // 4


def limits(environ: Mapping[str, str]) -> Limits | None:
    """Return the limits of the environment; None if no versions are kept."""
    return Limits(**json.loads(environ[VARIABLE])) if VARIABLE in environ else None
