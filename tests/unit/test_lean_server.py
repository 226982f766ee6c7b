"""A user's server runs without the Hub's database layer; each test in a new Python process without earlier imports."""

from __future__ import annotations

import subprocess
import sys

from project import IMAGES

LIB = IMAGES / "singleuser/lib"
START = f"import sys; sys.path.insert(0, {str(LIB)!r}); import jupyterhub_lean\n"


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, timeout=60)


def said(script: str) -> str:
    done = run(script)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


IMPORT = "with jupyterhub_lean.placeholders(): import jupyterhub.services.auth, jupyterhub.log, jupyterhub.metrics\n"


def test_a_server_does_not_import_the_database_layer() -> None:
    left = "print(sorted({name.split('.')[0] for name in sys.modules} & {'sqlalchemy', 'alembic', 'jupyterhub'}))"
    hubs = "print([name for name in sys.modules if name.startswith(('jupyterhub.orm', 'jupyterhub.handlers'))])"
    assert said(IMPORT + left + "\n" + hubs) == "['jupyterhub']\n[]\n"
    # The module that is left out is the one that upstream imports.
    assert "sqlalchemy" in said("import jupyterhub.services.auth\n" + left)


def test_a_later_import_gets_the_real_module() -> None:
    script = """
import sqlalchemy, sqlalchemy.orm
from sqlalchemy.exc import SQLAlchemyError
from jupyterhub import orm
from jupyterhub.handlers.pages import HealthCheckHandler
print(sqlalchemy.Column.__module__, orm.User.__tablename__, hasattr(HealthCheckHandler, "get"), sqlalchemy.__version__)
"""
    assert said(IMPORT + script).startswith("sqlalchemy.sql.schema users True 2.")


def test_a_needed_attribute_is_loaded_and_logged() -> None:
    script = """
import jupyterhub.scopes
assert jupyterhub.scopes.orm.User.__tablename__ == "users"
import jupyterhub.orm
assert jupyterhub.scopes.orm.User is jupyterhub.orm.User
"""
    words = "jupyterhub.orm.User is used: the server loads the Hub's database layer after all\n"
    assert said(IMPORT + script) == words


def test_an_earlier_import_stays() -> None:
    script = "import sqlalchemy as before\n" + IMPORT + "import sqlalchemy; print(sqlalchemy is before)"
    assert said(script) == "True\n"


def test_if_the_import_fails_upstreams_server_is_used() -> None:
    # An unknown name, as from a later JupyterHub.
    script = """
import os, types
jupyterhub_lean._PLACEHOLDERS["jupyterhub.singleuser.later"] = {}
class Later:
    def find_spec(self, name, path, target=None):
        if name == "jupyterhub.singleuser":
            from jupyterhub.singleuser.later import thing
sys.meta_path.insert(0, Later())
os.execv = lambda path, words: print(path, words) or sys.exit()
sys.argv[1:] = ["--port=1"]
jupyterhub_lean.main()
"""
    done = run(script)
    upstream = "/opt/jupyter/bin/jupyterhub-singleuser-upstream"
    assert done.stdout == f"{upstream} ['{upstream}', '--port=1']\n"
    assert "This server starts with the Hub's database layer: its import without it failed" in done.stderr


def test_a_placeholder_loads_its_module_when_used() -> None:
    script = """
with jupyterhub_lean.placeholders():
    import requests as early
assert "requests" not in sys.modules
print(early.get.__module__)
import requests
print(early.get is requests.get)
"""
    assert said(script) == "requests.api\nTrue\n"
