"""Gives everybody a color of their own, the same in every browser and at every start."""

import colorsys
import hashlib
from collections.abc import Callable
from typing import Any

Model = Callable[[Any], dict[str, Any]]

_LIGHTNESS, _SATURATION = 0.62, 0.75
"""Black letters can be read on it, and a cursor of it can be seen in light and dark themes."""


def color_of(username: str) -> str:
    """Return a color as CSS has it, such as `#e87c55`."""
    hue = int.from_bytes(hashlib.sha256(username.encode()).digest()[:4]) / 2**32
    red, green, blue = colorsys.hls_to_rgb(hue, _LIGHTNESS, _SATURATION)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def colored(identity_model: Model) -> Model:
    """Return IdentityProvider.identity_model with a color, unless a user has one."""

    def model(user: Any) -> dict[str, Any]:
        found = identity_model(user)
        return {**found, "color": found.get("color") or color_of(found["username"])}

    return model
