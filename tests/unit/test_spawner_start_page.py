"""The cards of the start page, as HTML."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from jupyterhub_ansible.settings.model import Content, Environment, Size
from jupyterhub_ansible.spawner.options import Catalogue
from jupyterhub_ansible.spawner.start_page import Limits, form

BASE = Environment(slug="base", title="Base", description="", image="x/base:1", default_url="/lab", home="/home/jovyan")
ODD = BASE.model_copy(
    update={
        "slug": "odd",
        "title": "<b>R & D</b>",
        "description": 'a "quoted" word',
        "contents": tuple(Content(name=name, version="1.2") for name in ("numpy", "marimo", "Python")),
        "sizes": (
            Size(slug="small", title="Small", memory_mb=512, cpus=0.5),
            Size(slug="large", title="Large", memory_mb=1536, cpus=1),
        ),
    }
)
BOTH = Catalogue({"base": BASE, "odd": ODD}, "base")
LIMITS = Limits(2048, 2)


class Inputs(HTMLParser):
    """Collects a form's fields, and all ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.described: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.labels += [given["for"]] if tag == "label" else []
        self.described += [given["aria-describedby"]] if "aria-describedby" in given else []
        if tag == "input":
            self.fields.append(given)

    def checked(self, name: str) -> list[str | None]:
        return [field["value"] for field in self.fields if field["name"] == name and "checked" in field]


def page(
    options: dict[str, object] | None = None, catalogue: Catalogue = BOTH, notice: str = "", server: str = ""
) -> str:
    return form(catalogue, catalogue.choose(options or {}), notice, LIMITS, server)


def test_no_form_without_a_choice() -> None:
    assert page(catalogue=Catalogue({"base": BASE}, "base")) == ""


def test_the_last_choice_is_chosen() -> None:
    assert Inputs(page()).checked("profile") == ["base"]
    last = Inputs(page({"profile": "odd", "size": "large"}))
    assert last.checked("profile") == ["odd"]
    assert last.checked("size-odd") == ["large"]
    # For other cards, the first size.
    assert Inputs(page()).checked("size-odd") == ["small"]


def test_text_is_escaped() -> None:
    html = page(notice="<i>", server="<u>")
    assert "&lt;b&gt;R &amp; D&lt;/b&gt;" in html
    assert "a &#34;quoted&#34; word" in html
    assert not re.search("<[biu]>", html)


def test_every_field_has_a_label_and_what_describes_it_is_there() -> None:
    everything = Catalogue(BOTH.environments, "base", ("python:*",))
    found = Inputs(page(catalogue=everything))
    assert {field["id"] for field in found.fields} == set(found.labels)
    assert set(found.described) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_versions_and_sizes() -> None:
    text = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", page()))
    # The important ones first; the rest is folded.
    assert "Python 1.2 marimo 1.2 1 package numpy 1.2" in text
    assert "Small: 512 MB memory, 0.5 processors" in text
    assert "Large: 1.5 GB memory, 1 processor" in text
    # Without sizes, the default limits.
    assert "2 GB memory, 2 processors" in text


@pytest.mark.parametrize(("gpus", "words"), [(0, ""), (1, "1 GPU<"), (2, "2 GPUs<"), (-1, "All GPUs<")])
def test_gpus(gpus: int, words: str) -> None:
    other = BASE.model_copy(update={"slug": "gpu", "gpus": gpus})
    html = page(catalogue=Catalogue({"base": BASE, "gpu": other}, "base"))
    assert words in html
    assert ("GPU" in html) is bool(gpus)


def test_freely_chosen_image() -> None:
    assert "image-reference" not in page()
    free = Catalogue({"base": BASE}, "base", ("ghcr.io/acme/*",))
    assert "Allowed: ghcr.io/acme/*" in page(catalogue=free)
    last = Inputs(page({"image": "ghcr.io/acme/a:1"}, free))
    assert last.checked("profile") == ["_image"]
    assert [field["value"] for field in last.fields if field["name"] == "image-reference"] == ["ghcr.io/acme/a:1"]


def test_notice_and_named_server() -> None:
    assert 'role="alert"' not in page()
    assert re.search('role="alert"[^>]*>It is gone.<', page(notice="It is gone."))
    assert "<strong>second</strong>" in page(server="second")


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(1024, 1), "1 GB memory, 1 processor"),
        (Limits(10_240, 0.5), "10 GB memory, 0.5 processors"),
        (Limits(None, 2), "2 processors"),
        (Limits(None, None), ""),
    ],
)
def test_limits_in_words(limits: Limits, text: str) -> None:
    assert str(limits) == text
