"""The start page: a card for every environment, as the options form of JupyterHub's spawn page.

`templates/spawn.html` extends JupyterHub's page of that name, `templates/environments.html` is the form's content.
"""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined

from ..settings.model import Content
from .options import FREE_IMAGE, Catalogue, Choice

TEMPLATES = Path(__file__).parents[1] / "templates"
"""Folder of JupyterHub's `template_paths`."""

HEADLINE = ("Python", "R", "Julia", "JupyterLab", "marimo")
"""Contents shown on the card; the rest can be unfolded."""

_templates = Templates(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Limits:
    """A server's limits: memory in MiB, and processors; None for no limit."""

    memory_mb: float | None
    cpus: float | None

    def __str__(self) -> str:
        parts = []
        if self.memory_mb is not None:
            large = self.memory_mb >= 1024
            parts.append(f"{self.memory_mb / 1024:.3g} GB memory" if large else f"{self.memory_mb:.0f} MB memory")
        if self.cpus is not None:
            parts.append(f"{self.cpus:g} processor{'' if self.cpus == 1 else 's'}")
        return ", ".join(parts)


def _split(contents: tuple[Content, ...]) -> tuple[list[Content], list[Content]]:
    """Return the contents shown on the card, and the rest."""
    headline = [content for name in HEADLINE for content in contents if content.name == name]
    return headline, [content for content in contents if content not in headline]


def form(catalogue: Catalogue, choice: Choice, notice: str, limits: Limits, server_name: str = "") -> str:
    """Return the HTML of the options form; "" if there is nothing to choose.

    Args:
        catalogue: what the user may choose from.
        choice: the preselected one.
        notice: a notice about it for the user; may be "".
        limits: of environments without sizes.
        server_name: of a named server.
    """
    if not catalogue.is_a_choice:
        return ""
    template = _templates.get_template("environments.html")
    return template.render(
        environments=catalogue.environments.values(),
        patterns=catalogue.patterns,
        choice=choice,
        notice=notice,
        limits=limits,
        server_name=server_name,
        FREE_IMAGE=FREE_IMAGE,
        Limits=Limits,
        split=_split,
    )
