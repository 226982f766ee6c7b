"""Only formats that can work are offered."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
from jupyterhub_lab.exports import offer_usable

PANDOC = {"ASCIIDocExporter", "LatexExporter", "RSTExporter"}
QT = {"QtPDFExporter", "QtPNGExporter"}


@pytest.mark.parametrize(
    ("there", "off"),
    [
        ((), {*PANDOC, *QT, "PDFExporter", "WebPDFExporter"}),
        (("pandoc",), {*QT, "PDFExporter", "WebPDFExporter"}),
        (("xelatex",), {*PANDOC, *QT, "PDFExporter", "WebPDFExporter"}),
        (("pandoc", "xelatex"), {*QT, "WebPDFExporter"}),
        (("playwright", "PyQt5.QtWebEngineWidgets"), {*PANDOC, "PDFExporter"}),
    ],
)
def test_formats_by_what_is_there(there: tuple[str, ...], off: set[str]) -> None:
    config: dict[str, SimpleNamespace] = defaultdict(SimpleNamespace)
    offer_usable(config, there.__contains__, there.__contains__)
    assert {name for name, trait in config.items() if trait.enabled is False} == off


def test_here() -> None:
    """The real look-ups do not raise for a package that is missing altogether."""
    config: dict[str, SimpleNamespace] = defaultdict(SimpleNamespace)
    offer_usable(config)
    assert "QtPDFExporter" in config
