#!/usr/bin/python3
"""An HTTP proxy with basic authentication, for tests: http_proxy.py PORT USER:PASSWORD."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

EXPECTED = "Basic " + base64.b64encode(sys.argv[2].encode()).decode()


class Proxy(BaseHTTPRequestHandler):
    """Forwards requests that have the password."""

    def refused(self) -> bool:
        """Return whether the password is missing or wrong, and if so, ask for it."""
        if self.headers.get("Proxy-Authorization") == EXPECTED:
            return False
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def do_CONNECT(self) -> None:  # named by BaseHTTPRequestHandler
        """Open a tunnel."""
        if self.refused():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as upstream:
            self.send_response(200)
            self.end_headers()
            other = {self.connection: upstream, upstream: self.connection}
            while ready := select.select(list(other), [], [], 60)[0]:
                for source in ready:
                    if not (data := source.recv(65536)):
                        return
                    other[source].sendall(data)

    def do_GET(self) -> None:
        """Fetch a page."""
        if self.refused():
            return
        url = urlsplit(self.path)
        connection = http.client.HTTPConnection(url.netloc, timeout=60)
        headers = {key: value for key, value in self.headers.items() if not key.startswith("Proxy-")}
        connection.request("GET", url._replace(scheme="", netloc="").geturl(), headers=headers)
        answer = connection.getresponse()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("transfer-encoding", "connection"):
                self.send_header(key, value)
        self.send_header("Connection", "close")
        self.end_headers()
        while data := answer.read(65536):
            self.wfile.write(data)
        self.close_connection = True


ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Proxy).serve_forever()
