"""HTML files may be shown in a frame of the server's own pages: `IFrame("plot.html")`.

JupyterHub forbids every frame, because the servers of all users share one origin.  A file is served in a sandbox: it
has an origin of its own, and so neither cookies nor access to the page around it, to this server or to another one.
"""

from typing import Any

_SANDBOX = "sandbox allow-scripts allow-downloads allow-popups allow-popups-to-escape-sandbox"
"""Plots save images and link to the web, where a page has its own origin again.  Never allow-same-origin."""


def policy(of_the_server: str) -> str:
    """Return the Content-Security-Policy of a file, from the policy of the server's pages.

    An administrator may have named other pages that may frame the server, in `frame-ancestors`.
    """
    return of_the_server.replace("frame-ancestors 'none'", "frame-ancestors 'self'") + f"; {_SANDBOX}"


def install() -> None:
    """Replace the policy of Jupyter's handlers of /files/."""
    from jupyter_server.base.handlers import AuthenticatedFileHandler, JupyterHandler
    from jupyter_server.files.handlers import FilesHandler

    def content_security_policy(handler: Any) -> str:
        return policy(JupyterHandler.content_security_policy.fget(handler))

    for each in (AuthenticatedFileHandler, FilesHandler):
        each.content_security_policy = property(content_security_policy)
