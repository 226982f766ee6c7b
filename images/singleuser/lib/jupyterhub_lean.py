"""Starts a user's server without what it has no use for: the Hub's database layer alone is 40 % of its start, 30 MB.

jupyterhub.singleuser imports it for names that only the Hub uses: jupyterhub.log all pages of the Hub for one class,
jupyterhub.scopes and jupyterhub.metrics jupyterhub.orm, which brings SQLAlchemy and Alembic.  While it is imported,
placeholders stand for these modules.  Then they go: whoever imports one of them later gets the real one, and so does
whoever uses what a placeholder was imported as.  Where the import fails, the server starts as upstream's does.

The same goes for requests, which jupyterlab_server imports for lists of extensions that nobody has.
"""

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

UPSTREAM = "/opt/jupyter/bin/jupyterhub-singleuser-upstream"
SAYS_FULL = "starts with the Hub's database layer"
SAYS_LATE = "loads the Hub's database layer after all"
"""Words of the log by which an image's trial knows that this is of no use any more."""

_log = logging.getLogger("jupyterhub_lean")
# What is asked of each by name while all this is imported.
_PLACEHOLDERS: dict[str, dict[str, type]] = {
    "jupyterhub.handlers": {},
    # jupyterhub.log asks whether a handler is one, to log it less.
    "jupyterhub.handlers.pages": {"HealthCheckHandler": type("HealthCheckHandler", (), {})},
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "requests": {},
    "sqlalchemy": {},
    # jupyterhub.utils passes it over.
    "sqlalchemy.exc": {"SQLAlchemyError": type("SQLAlchemyError", (Exception,), {})},
}
# Not by the Hub's database layer.
_MAY_BE_USED = {"requests"}


class _Placeholder(ModuleType):
    """Stands for a module, as long as nothing of it is used."""

    stands = True
    """Whether any of them is still in the module's place."""

    def __getattr__(self, name: str) -> Any:
        if _Placeholder.stands:
            # The import system asks for some of a module's own names, which it may lack.
            error = AttributeError if name.startswith("__") else ImportError
            raise error(f"{self.__name__}.{name} is needed")
        if self.__name__ not in sys.modules and self.__name__ not in _MAY_BE_USED:
            _log.warning("%s.%s is used: the server %s", self.__name__, name, SAYS_LATE)
        return getattr(importlib.import_module(self.__name__), name)


class _Finder:
    """Finds and loads placeholders (importlib.abc, whose classes it does without, costs 0.05 s)."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _PLACEHOLDERS:
            return None
        return ModuleSpec(
            name, cast("Loader", self), is_package=any(other.startswith(f"{name}.") for other in _PLACEHOLDERS)
        )

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_PLACEHOLDERS[module.__name__])


@contextmanager
def placeholders() -> Iterator[None]:
    """Let placeholders be imported; what was imported real before stays."""
    finder = _Finder()
    _Placeholder.stands = True
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _Placeholder.stands = False
        for name in _PLACEHOLDERS:
            module = sys.modules.get(name)
            if not isinstance(module, _Placeholder):
                continue
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            if parent and vars(sys.modules.get(parent, module)).get(child) is module:
                delattr(sys.modules[parent], child)


def main() -> Any:
    """Become the server."""
    try:
        with placeholders():
            from jupyterhub.singleuser import main as serve

            # Now, while there is a placeholder for it: JupyterLab would import it later, and requests with it.
            importlib.import_module("jupyterlab_server.listings_handler")
    except Exception:
        traceback.print_exc()
        print(f"This server {SAYS_FULL}: its import without it failed", file=sys.stderr, flush=True)
        # Anew: what was imported halfway is not imported again.
        os.execv(UPSTREAM, [UPSTREAM, *sys.argv[1:]])
    return serve()
