"""A client of the stand-in for GitHub: a browser that signs in, and calls of its API, for unit tests."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from requests import Response

CALLBACK = "https://hub.example.org/hub/oauth_callback"
SECRET = "the-client-secret"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CONTROL = {"X-Control-Token": "control"}


class Browser(requests.Session):
    """A browser that follows redirects until one leads to the app."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env = False
        self.url = url

    def follow(self, answer: Response) -> Response:
        while answer.is_redirect and answer.headers["Location"].startswith("/"):
            answer = self.get(self.url + answer.headers["Location"], allow_redirects=False)
        return answer

    def authorize(self, **asked: str) -> Response:
        query = {"client_id": "client", "redirect_uri": CALLBACK, "state": "xyz", "scope": "read:org", **asked}
        return self.follow(self.get(f"{self.url}/login/oauth/authorize?{urlencode(query)}", allow_redirects=False))

    def submit(self, page: Response, **fields: str) -> Response:
        [action] = re.findall(r'<form method="post" action="([^"]+)">', page.text)
        return self.follow(self.post(self.url + action, data={**hidden(page), **fields}, allow_redirects=False))

    def code(self, login: str, **asked: str) -> str:
        page = self.submit(self.authorize(**asked), login=login)
        return came_back(self.submit(page, authorize="1"))["code"]


def hidden(page: Response) -> dict[str, str]:
    inputs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in inputs}


def came_back(answer: Response) -> dict[str, str]:
    """Return the query parameters of the redirect to the app."""
    assert answer.status_code == 302
    address = urlsplit(answer.headers["Location"])
    assert address._replace(query="").geturl() == CALLBACK
    return dict(parse_qsl(address.query))


def exchange(url: str, code: str, /, **changed: str) -> dict[str, str]:
    form = {"client_id": "client", "client_secret": SECRET, "code": code, "redirect_uri": CALLBACK, **changed}
    answer = requests.post(
        f"{url}/login/oauth/access_token", data=form, headers={"Accept": "application/json"}, timeout=5
    )
    assert answer.status_code == 200
    said: dict[str, str] = answer.json()
    return said


def ask(url: str, path: str, token: str, **headers: str) -> Response:
    return requests.get(
        f"{url}{path}", headers={"Authorization": f"Bearer {token}", **headers}, timeout=5, allow_redirects=False
    )
