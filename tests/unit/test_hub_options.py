"""The choice of an environment: the form, and what comes back from it, from a link or from the REST API."""

from typing import Any

import pytest
from jupyterhub_ansible.options import ChoiceError, choose, form, options_from_form
from jupyterhub_ansible.settings import Environment

BASE = Environment(slug="base", title="Base", description="", image="x/base:1", default_url="/lab", home="/home/jovyan")
ODD = BASE.model_copy(update={"slug": "odd", "title": "<b>R & D</b>", "description": 'a "quoted" word'})


def test_nothing_to_choose_is_no_form() -> None:
    assert form([BASE], "base") == ""


def test_the_default_is_chosen_and_text_stays_text() -> None:
    html = form([BASE, ODD], "odd")
    assert html.count("checked") == 1
    assert html.index('value="odd"') < html.index("checked")
    assert "&lt;b&gt;R &amp; D&lt;/b&gt;" in html
    assert "<b>" not in html


def test_each_choice_has_a_label_and_a_description() -> None:
    html = form([BASE, ODD], "base")
    for slug in ("base", "odd"):
        assert f'id="profile-{slug}"' in html
        assert f'for="profile-{slug}"' in html
        assert f'aria-describedby="profile-{slug}-about"' in html
        assert f'id="profile-{slug}-about"' in html


def test_form_data() -> None:
    assert options_from_form({"profile": ["odd"], "_xsrf": ["token"]}) == {"profile": "odd"}
    with pytest.raises(ChoiceError):
        options_from_form({"profile": ["base", "odd"]})


def test_no_choice_is_the_default() -> None:
    assert choose({}, {"base", "odd"}, "odd") == "odd"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "gone"}, "There is no environment of that name. Choose one of: base, odd."),
        ({"profile": ["base"]}, "There is no environment of that name. Choose one of: base, odd."),
        ({"profile": None}, "There is no environment of that name. Choose one of: base, odd."),
        ({"profile": "base", "image": "evil:1"}, "Unknown option: image. The only option is profile."),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ChoiceError) as error:
        choose(options, {"base", "odd"}, "base")
    assert str(error.value) == message
