"""Starts a user's server without unused modules: the Hub's database layer alone is 40 % of its start, and 30 MB.

jupyterhub.singleuser imports it for names that only the Hub uses: jupyterhub.log imports all pages of the Hub for one
class, and jupyterhub.scopes and jupyterhub.metrics import jupyterhub.orm with SQLAlchemy and Alembic.  During this
import, placeholders replace these modules.  Afterwards they are removed: later imports get the real modules, and so
does any use of a placeholder that was imported.  If the import fails, the server starts as upstream's does.

The same applies to requests, which jupyterlab_server imports for extension lists that are not used here.
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
"""Log messages by which an image's test recognizes that this no longer works."""

_log = logging.getLogger("jupyterhub_lean")
# The attributes that each module needs during the import.
_PLACEHOLDERS: dict[str, dict[str, type]] = {
    "jupyterhub.handlers": {},
    # jupyterhub.log tests for this class, to log health checks less.
    "jupyterhub.handlers.pages": {"HealthCheckHandler": type("HealthCheckHandler", (), {})},
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "requests": {},
    "sqlalchemy": {},
    # jupyterhub.utils catches it.
    "sqlalchemy.exc": {"SQLAlchemyError": type("SQLAlchemyError", (Exception,), {})},
}
# Not part of the database layer, so its use is not reported.
_MAY_BE_USED = {"requests"}


class _Placeholder(ModuleType):
    """Replaces a module until an attribute of it is used."""

    stands = True
    """Whether placeholders are installed."""

    def __getattr__(self, name: str) -> Any:
        if _Placeholder.stands:
            # The import system may ask for optional dunder attributes.
            error = AttributeError if name.startswith("__") else ImportError
            raise error(f"{self.__name__}.{name} is needed")
        if self.__name__ not in sys.modules and self.__name__ not in _MAY_BE_USED:
            _log.warning("%s.%s is used: the server %s", self.__name__, name, SAYS_LATE)
        return getattr(importlib.import_module(self.__name__), name)


class _Finder:
    """Finds and loads placeholders (without the base classes of importlib.abc, whose import takes 0.05 s)."""

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
    """Import placeholders; modules that were imported before stay."""
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
    """Run the server."""
    try:
        with placeholders():
            from jupyterhub.singleuser import main as serve

            # While requests is a placeholder; JupyterLab would import this later, together with requests.
            importlib.import_module("jupyterlab_server.listings_handler")
    except Exception:
        traceback.print_exc()
        print(f"This server {SAYS_FULL}: its import without it failed", file=sys.stderr, flush=True)
        # In a fresh process, because partially imported modules stay broken.
        os.execv(UPSTREAM, [UPSTREAM, *sys.argv[1:]])
    return serve()
