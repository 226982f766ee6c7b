"""Everybody's color."""

import colorsys
import re

from jupyterhub_collaboration.colors import color_of, colored


def test_colors_are_stable_and_differ() -> None:
    names = [f"user-{number}" for number in range(12)]
    found = [color_of(name) for name in names]
    assert found == [color_of(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in found)
    lightness = [colorsys.rgb_to_hls(*(int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)))[1] for color in found]
    assert all(0.6 < each < 0.65 for each in lightness), "letters on it are black"


def test_identity_gets_a_color_unless_it_has_one() -> None:
    ann = {"username": "ann", "name": "Ann", "color": None}
    assert colored(lambda user: user)(ann) == {**ann, "color": color_of("ann")}
    assert colored(lambda user: user)({**ann, "color": "red"})["color"] == "red"
