"""Filter of the role images: the catalogue of environments as the Hub reads it, with the contents of their images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .image_plan import BUILT_IN, FILES, WAYS, Plan, maker

# What an environment's card shows first; packages by the names that image_listing uses.
PROGRAMS = ("Python", "R", "Julia")
SERVERS = {"jupyterlab": "JupyterLab", "marimo": "marimo"}
# What a card shows of an image that is made elsewhere or by a Dockerfile: packages that people choose an image for.
# fmt: off
WELL_KNOWN = [
    "altair", "bokeh", "dask", "duckdb", "geopandas", "ipywidgets", "jax", "keras", "lightgbm", "matplotlib",
    "networkx", "numba", "numpy", "openai", "opencv-python", "pandas", "plotly", "polars", "pyarrow", "pymc",
    "pyspark", "rasterio", "scikit-image", "scikit-learn", "scipy", "seaborn", "spacy", "sqlalchemy", "statsmodels",
    "streamlit", "sympy", "tensorflow", "torch", "transformers", "xarray", "xgboost",
]
# fmt: on


def _normal(name: str) -> str:
    """Return a package's normalized name (PEP 503), as image_listing returns it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requested(entry: Mapping[str, Any], files: Path) -> list[str]:
    """Return the packages that an image was made for, as far as known."""
    if entry.get("pip") or entry.get("apt"):
        lines = entry.get("pip") or []
    elif entry["slug"] in BUILT_IN and not entry.get("dockerfile") and not entry.get("image"):
        # `base` contains nothing but the server.
        wanted = files / entry["slug"] / "requirements.in"
        lines = wanted.read_text().splitlines() if entry["slug"] != "base" else []
    else:
        return WELL_KNOWN
    names = (re.match(r"[A-Za-z0-9][\w.-]*", line) for line in lines)
    return [_normal(name[0]) for name in names if name]


def _contents(entry: Mapping[str, Any], found: Mapping[str, Mapping[str, str]], files: Path) -> list[dict[str, str]]:
    """Return what an environment's card shows of its image's contents, with the versions found in it."""
    programs, packages, debian = (found.get(kind, {}) for kind in ("programs", "packages", "debian"))
    requested = sorted(set(_requested(entry, files)) - SERVERS.keys())
    listed = {name: programs[name] for name in PROGRAMS if name in programs}
    listed |= {shown: packages[name] for name, shown in SERVERS.items() if name in packages}
    listed |= {name: packages[name] for name in requested if name in packages}
    listed |= {name: debian[name] for name in sorted(entry.get("apt") or []) if name in debian and name not in listed}
    return [{"name": name, "version": version} for name, version in listed.items()]


def images_catalogue(
    catalogue: Sequence[Mapping[str, Any]],
    plan: Plan,
    contents: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None,
    files: str = str(FILES),
) -> list[dict[str, Any]]:
    """Return the environments as the Hub reads them (settings.model.Environment of its package), each with its image.

    Args:
        catalogue: the setting images_environments.
        plan: what images_plan returned.
        contents: what the module image_listing found in the images, by their references.
        files: the project's folder images/.
    """
    environments = []
    for entry in catalogue:
        source = maker(entry, catalogue)
        image = plan[f"env-{source['slug']}"]["ref"]
        made = {
            "image": image,
            "contents": _contents(source, (contents or {}).get(image, {}), Path(files)),
            # Images that we build are based on ours; of ready-made ones nothing is known.
            "tells_activity": not source.get("image"),
        }
        given = {name: value for name, value in entry.items() if name not in WAYS and value not in (None, [], {})}
        environments.append({**given, **made})
    return environments


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"images_catalogue": images_catalogue}
