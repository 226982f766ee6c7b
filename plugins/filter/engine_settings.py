"""Filter: settings of the engine, if they give nobody the machine.  `make engine` has no preflight before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.preflight.engine_settings import gives_nobody_the_machine


def harmless_engine_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings.

    Raises:
        AnsibleFilterError: they open the engine to the network, or take down what keeps servers apart.
    """
    found = [f"{each.about}: {each.what}. Fix: {each.fix}" for each in gives_nobody_the_machine(settings)]
    if found:
        raise AnsibleFilterError("\n".join(found))
    return settings


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it."""
        return {"harmless_engine_settings": harmless_engine_settings}
