#!/usr/bin/env python3
"""Record what a deployment left on a machine, and restore it on another one; runs on the machine, with Python alone.

    recorded.py record FILE PATH...  # files below these paths, and all containers, networks and volumes of the engine
    recorded.py restore FILE         # on a machine whose own containers, networks and files are gone already

The images are not recorded: that would be gigabytes.  Containers get the images of the same names that the machine has
now: users' servers run on them, the Hub is a stand-in that answers servers, and all others only wait to be replaced.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

SOCKET = "/var/run/docker.sock"
KIND = "jupyterhub-ansible.kind"
WAIT = ["sleep", "infinity"]
# A server asks the Hub for its version when it starts, and ends if nobody answers.
ANSWER = """
import http.server, json, jupyterhub
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", jupyterhub.__version__)
        self.end_headers()
        self.wfile.write(json.dumps({"version": jupyterhub.__version__}).encode())
    do_POST = do_GET
http.server.ThreadingHTTPServer(("", 8081), Answer).serve_forever()
"""
STAND_INS = {"hub": ["python", "-c", ANSWER], "compose-hub": ["python", "-c", ANSWER]}
BUILT_IN = {"bridge", "host", "none"}


class Connection(http.client.HTTPConnection):
    """To the engine's socket."""

    def connect(self) -> None:
        """See http.client."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def engine(method: str, path: str, body: object = None, **query: str) -> Any:
    """Return what the engine answers.

    Raises:
        SystemExit: it refuses.
    """
    connection = Connection("localhost", timeout=60)
    text = json.dumps(body) if body is not None else None
    connection.request(method, f"{path}?{urlencode(query)}", text, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read().decode()
    if answer.status >= 400:
        sys.exit(f"{method} {path}: {said}")
    return json.loads(said) if said else None


def run(*command: str) -> None:
    """Run a command."""
    subprocess.run(command, check=True)


def mount_point(volume: str) -> str:
    """Return where a volume's files are."""
    return str(engine("GET", f"/volumes/{volume}")["Mountpoint"])


def record(file: str, *paths: str) -> None:
    """Write the state of this machine into an archive."""
    containers = [
        engine("GET", f"/containers/{found['Id']}/json") for found in engine("GET", "/containers/json", all="1")
    ]
    for container in containers:
        tags = engine("GET", f"/images/{container['Image']}/json")["RepoTags"]
        # The fence's helper is started by the image's id, which differs on another machine.
        if f"{container['Config']['Image']}:latest" not in tags and container["Config"]["Image"] not in tags:
            container["Config"]["Image"] = tags[0]
    networks = [found for found in engine("GET", "/networks") if found["Name"] not in BUILT_IN]
    volumes = engine("GET", "/volumes")["Volumes"] or []
    with tempfile.TemporaryDirectory() as folder:
        state = {"containers": containers, "networks": networks, "volumes": volumes}
        Path(folder, "state.json").write_text(json.dumps(state, indent=1))
        run(
            "tar",
            "--create",
            "--file",
            f"{folder}/files.tar",
            "--directory",
            "/",
            *(path.lstrip("/") for path in paths),
        )
        for volume in volumes:
            run("tar", "--create", "--file", f"{folder}/volume-{volume['Name']}.tar", "-C", volume["Mountpoint"], ".")
        run("tar", "--create", "--gzip", "--file", file, "--directory", folder, ".")


def tag_images(containers: list[dict[str, Any]]) -> None:
    """Tag the machine's images with the recorded names."""
    here = [name for image in engine("GET", "/images/json") for name in image["RepoTags"] or []]
    for name in {container["Config"]["Image"] for container in containers} - {*here}:
        repository, _, tag = name.rpartition(":")
        if f"{name}:latest" in here:
            continue
        # The Hub of a Compose application names its environments when it starts; until then they have Compose's name.
        present = [other for other in here if other.rpartition(":")[0] in (repository, repository.replace("/", "-"))]
        if not present:
            sys.exit(f"there is no image for {name}; there are {', '.join(here)}")
        now = present[0]
        engine("POST", f"/images/{quote(now, safe='')}/tag", repo=repository, tag=tag)


def wait_for_line(container: str, line: str) -> None:
    """Wait for a line in a container's log.

    Raises:
        SystemExit: it does not within a minute.
    """
    log = ""
    for _ in range(120):
        log = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True).stderr
        if line in log:
            return
        time.sleep(0.5)
    sys.exit(f"{container} does not write {line!r}: {log}")


def make(container: dict[str, Any], networks: dict[str, str]) -> str:
    """Make a container as it was described, start it if it was running, and return its id."""
    kind = container["Config"]["Labels"].get(KIND)
    body = {**container["Config"], "HostConfig": {**container["HostConfig"]}}
    # A network's id differs on another machine, its name does not.
    mode = body["HostConfig"]["NetworkMode"]
    body["HostConfig"]["NetworkMode"] = networks.get(mode, mode)
    if kind != "user-server":
        body |= {"Entrypoint": STAND_INS.get(kind, WAIT), "Cmd": [], "Healthcheck": {"Test": ["NONE"]}}
    body["NetworkingConfig"] = {
        "EndpointsConfig": {
            name: {key: given[key] for key in ("IPAMConfig", "Aliases", "DriverOpts")}
            for name, given in container["NetworkSettings"]["Networks"].items()
            if name not in BUILT_IN
        }
    }
    made = engine("POST", "/containers/create", body, name=container["Name"][1:])
    if container["State"]["Running"]:
        engine("POST", f"/containers/{made['Id']}/start")
        if kind == "user-server":
            # Before that, it would exit as soon as the Hub is replaced.
            wait_for_line(made["Id"], "is running at")
    return str(made["Id"])


def replace_ids(volume: str, ids: dict[str, str]) -> None:
    """Replace the recorded ids of containers in the databases of a volume; all ids have the same length."""
    for database in Path(mount_point(volume)).rglob("*.sqlite"):
        content = database.read_bytes()
        for former, present in ids.items():
            content = content.replace(former.encode(), present.encode())
        # The same file is written, so it keeps its owner and mode.
        database.write_bytes(content)


def restore(file: str) -> None:
    """Recreate the state in an archive."""
    with tempfile.TemporaryDirectory() as folder:
        run("tar", "--extract", "--gzip", "--file", file, "--directory", folder)
        state = json.loads(Path(folder, "state.json").read_text())
        run("tar", "--extract", "--same-owner", "--file", f"{folder}/files.tar", "--directory", "/")
        for network in state["networks"]:
            engine("POST", "/networks/create", network)
        for volume in state["volumes"]:
            engine("POST", "/volumes/create", volume)
            tar = f"{folder}/volume-{volume['Name']}.tar"
            run("tar", "--extract", "--same-owner", "--file", tar, "--directory", mount_point(volume["Name"]))
    tag_images(state["containers"])
    names = {network["Id"]: network["Name"] for network in state["networks"]}
    # The Hub first, as servers contact it when they start.
    in_order = sorted(state["containers"], key=lambda one: one["Config"]["Labels"].get(KIND) == "user-server")
    ids = {container["Id"]: make(container, names) for container in in_order}
    for volume in state["volumes"]:
        replace_ids(volume["Name"], ids)


if __name__ == "__main__":
    {"record": record, "restore": restore}[sys.argv[1]](*sys.argv[2:])
