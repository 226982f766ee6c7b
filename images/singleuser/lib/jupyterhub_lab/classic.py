"""Links and bookmarks of the classic notebook (/tree, /notebooks, ...), such as nbgitpuller's, lead to JupyterLab."""

import re
import string
from urllib.parse import quote

from tornado.routing import PathMatches, Rule
from tornado.web import Application, RequestHandler

_PATH = r"(?:nbclassic/|retro/)?(?:tree|notebooks|edit|view|(?P<not_a_file>consoles|terminals))(?P<path>/.*)?"
_KEPT = "%!$&'()*+,;=:@~"
"""Characters that are left as they are in a path: it is percent-encoded already."""


def location(base_url: str, path: str, query: str) -> str:
    """Return where a page of the classic notebook is in JupyterLab; always below `base_url`.

    Args:
        base_url: of the server, such as `/user/alice/`.
        path: of the page, below `base_url`, percent-encoded or raw bytes as Latin-1, as tornado gives it.
        query: of the request, likewise.

    Raises:
        ValueError: there is no such page.
    """
    page = re.fullmatch(_PATH, path)
    if not page:
        raise ValueError(f"not a page of the classic notebook: {path!r}")
    parts = [quote(part, safe=_KEPT, encoding="latin-1") for part in (page["path"] or "").split("/")]
    # Browsers would resolve ".." in any of its forms.
    parts = [part for part in parts if part and not re.fullmatch(r"(?:\.|%2e){1,2}", part, re.IGNORECASE)]
    lab = "lab" if page["not_a_file"] or not parts else f"lab/tree/{'/'.join(parts)}"
    # Whatever it has of ASCII stays; raw bytes would be encoded once more.
    return f"{base_url}{lab}{'?' if query else ''}{quote(query, safe=string.punctuation, encoding='latin-1')}"


class ClassicHandler(RequestHandler):
    """Redirects to JupyterLab, which asks for the login."""

    def initialize(self, base_url: str) -> None:
        """Take the server's base URL."""
        self._base_url = base_url

    def get(self) -> None:
        """Redirect."""
        path = self.request.path.removeprefix(self._base_url)
        self.redirect(location(self._base_url, path, self.request.query))

    head = get


def install(app: Application, base_url: str) -> None:
    """Add the redirects: before Jupyter's own pages, but after those of an extension such as Notebook 7."""
    # Without groups, which tornado would decode.
    pattern = re.escape(base_url) + re.sub(r"\?P<\w+>", "?:", _PATH)
    app.wildcard_router.rules.insert(0, Rule(PathMatches(pattern), ClassicHandler, {"base_url": base_url}))
