"""A registry on this machine from which one image can be pulled at a given speed.

It implements what a pull needs of the registry HTTP API V2: a manifest (image manifest V2, schema 2) and its blobs.
The engine treats 127.0.0.0/8 as insecure registries by default.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from e2e.deployment import docker

NAME, TAG = "pulled", "1"
_DOCKER = "application/vnd.docker"
_CHUNK = 256 * 1024
_FAST = 10**9


@dataclass(frozen=True)
class Blob:
    """A part of a file, with the SHA-256 digest of its content."""

    path: Path
    digest: str
    size: int
    offset: int = 0


@dataclass(frozen=True)
class Image:
    """An image: its configuration, and its layers as tar files."""

    config: dict[str, Any]
    layers: list[Blob]

    def with_layer(self, layer: Blob) -> Image:
        """Return this image with one layer on top."""
        diff_ids = [*self.config["rootfs"]["diff_ids"], layer.digest]
        # The engine refuses an image whose history does not have one entry for each layer.
        history = [*self.config.get("history", []), {"created_by": "test"}]
        config = {**self.config, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}
        return Image(config, [*self.layers, layer])


EMPTY = Image({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}, [])
"""An image that cannot be started."""


def saved(reference: str, path: Path) -> Image:
    """Save an image of the engine in the file `path`, and return it."""
    docker("save", "--output", str(path), reference)
    with tarfile.open(path) as archive:

        def member(name: str) -> tarfile.TarInfo:
            found = archive.getmember(name)
            # Layers with the same content are stored once.
            return archive.getmember(str(Path(name).parent / found.linkname)) if found.issym() else found

        def read(name: str) -> Any:
            file = archive.extractfile(member(name))
            assert file
            return json.load(file)

        [manifest] = read("manifest.json")
        config = read(manifest["Config"])
        parts = [member(name) for name in manifest["Layers"]]
    digests = config["rootfs"]["diff_ids"]
    layers = zip(digests, parts, strict=True)
    return Image(config, [Blob(path, digest, part.size, part.offset_data) for digest, part in layers])


def random_layer(path: Path, mb: int) -> Blob:
    """Create a new layer with one file of `mb` times 10^6 random bytes."""
    content = path.with_suffix(".content")
    with content.open("wb") as file:
        for _ in range(mb):
            file.write(os.urandom(1_000_000))
    with tarfile.open(path, "w") as archive:
        archive.add(content, "opt/content")
    content.unlink()
    with path.open("rb") as file:
        return Blob(path, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", path.stat().st_size)


class Registry(ThreadingHTTPServer):
    """Serves one image as `127.0.0.1:<port>/pulled:1`, its last layer at `bytes_per_s`."""

    daemon_threads = True

    def __init__(self, image: Image, port: int, bytes_per_s: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        config = json.dumps(image.config).encode()
        self.config = "sha256:" + hashlib.sha256(config).hexdigest()
        self.contents = {self.config: config}
        self.layers = {layer.digest: layer for layer in image.layers}
        self.last = image.layers[-1]
        self.bytes_per_s = bytes_per_s
        self.reference = f"127.0.0.1:{port}/{NAME}:{TAG}"
        self.pulling = threading.Event()
        layers = [
            {"mediaType": f"{_DOCKER}.image.rootfs.diff.tar", "size": layer.size, "digest": layer.digest}
            for layer in image.layers
        ]
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": f"{_DOCKER}.distribution.manifest.v2+json",
            "config": {
                "mediaType": f"{_DOCKER}.container.image.v1+json",
                "size": len(config),
                "digest": self.config,
            },
            "layers": layers,
        }
        self.manifest = json.dumps(manifest).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _head(self, length: int, kind: str = "application/octet-stream", digest: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        registry, parts = self.server, self.path.strip("/").split("/")
        content = b"{}" if parts == ["v2"] else registry.contents.get(parts[-1])
        if parts[-2:-1] == ["manifests"]:
            content = registry.manifest
            self._head(
                len(content),
                f"{_DOCKER}.distribution.manifest.v2+json",
                f"sha256:{hashlib.sha256(content).hexdigest()}",
            )
        elif content is not None:
            self._head(len(content))
        elif layer := registry.layers.get(parts[-1]):
            self._head(layer.size)
            if body:
                self._send(layer)
            return
        else:
            self.send_error(404)
            return
        if body:
            self.wfile.write(content)

    def _send(self, layer: Blob) -> None:
        self.server.pulling.set()
        bytes_per_s = self.server.bytes_per_s if layer == self.server.last else _FAST
        begin = time.monotonic()
        with layer.path.open("rb") as file:
            file.seek(layer.offset)
            sent = 0
            while sent < layer.size:
                time.sleep(max(0.0, begin + sent / bytes_per_s - time.monotonic()))
                sent += self.wfile.write(file.read(min(_CHUNK, layer.size - sent)))


@contextmanager
def registry(image: Image, port: int, bytes_per_s: int = _FAST) -> Iterator[Registry]:
    """Serve an image; its last layer, which the engine may lack, at this speed."""
    with Registry(image, port, bytes_per_s) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
