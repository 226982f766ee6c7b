"""Offers only those formats of *Save and Export Notebook As* whose programs are in the image."""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

_PROGRAMS = {
    "ASCIIDocExporter": ("pandoc",),
    "LatexExporter": ("pandoc",),
    "PDFExporter": ("pandoc", "xelatex"),
    "RSTExporter": ("pandoc",),
}
_PACKAGES = {
    "QtPDFExporter": "PyQt5.QtWebEngineWidgets",
    "QtPNGExporter": "PyQt5.QtWebEngineWidgets",
    "WebPDFExporter": "playwright",
}
"""What nbconvert's exporters start or import."""


def _is_importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def offer_usable(
    config: Any,
    has_program: Callable[[str], Any] = shutil.which,
    has_package: Callable[[str], Any] = _is_importable,
) -> None:
    """Disable exporters that cannot work, in the server's configuration; users' own settings take precedence."""
    for exporter, programs in _PROGRAMS.items():
        if not all(has_program(each) for each in programs):
            config[exporter].enabled = False
    for exporter, package in _PACKAGES.items():
        if not has_package(package):
            config[exporter].enabled = False
