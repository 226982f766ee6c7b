"""A stand-in for GitHub: its web flow for OAuth apps, and the part of its REST API that JupyterHub uses.

Its answers are those that GitHub documents (docs.github.com: «Authorizing OAuth apps», the two pages on troubleshooting
its errors, «Scopes for OAuth apps», «Rate limits for the REST API», and the REST reference of users, organization
members, teams and team members).  Its state is in `state.GitHub`, which knows nothing about HTTP.

    with running(github) as url:            # in a thread; afterwards connections are refused, the state stays
    python -m github --port 9000            # a process, with tests/ in PYTHONPATH; controlled through `/_control/`

The Hub uses it like a GitHub Enterprise Server.
"""

from github.server import running
from github.state import GitHub

__all__ = ["GitHub", "running"]
