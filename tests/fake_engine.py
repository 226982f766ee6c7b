"""A stand-in for Docker, as the Hub of a Compose application uses it, for unit tests."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

from docker.errors import APIError, NotFound
from jupyterhub_ansible.compose import images
from jupyterhub_ansible.rules import users_network

PLAN = users_network.plan("10.213.0.0/20")
LOG = logging.getLogger("compose")
HUB_IMAGE = {
    "jupyterhub-ansible.kind": "hub",
    "com.docker.compose.project": "hub",
    "com.docker.compose.service": "hub",
}


def refused(status: int, words: str) -> APIError:
    return APIError(words, response=Mock(status_code=status), explanation=words)


def image(number: int, *, slug: str = "base", content_hash: str = "a", tagged: int = 0) -> dict[str, Any]:
    labels = {
        "jupyterhub-ansible.project": "hub",
        "jupyterhub-ansible.kind": "environment",
        images.ENVIRONMENT: slug,
        images.HASH: content_hash,
    }
    return {
        "Id": f"sha256:{number}",
        "Created": f"2026-11-23T14:00:{number:02}Z",
        "Metadata": {"LastTagTime": f"2026-11-23T15:00:{tagged:02}Z"},
        "Config": {"Labels": labels},
        "RepoTags": [f"uuid_env-{slug}:{number}"],
    }


class Engine:
    """The calls of docker.APIClient that the Hub makes, with Docker's answers."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.stored: list[dict[str, Any]] = []
        self.tags: dict[str, str] = {}
        self.present: dict[str, dict[str, Any]] = {}
        self.said = b"in force\n"
        self.said_to: dict[str, bytes] = {}
        self.no_mounts = False
        self.refuses: APIError | None = None
        self.silent: APIError | None = None
        self.calls: list[str] = []
        self.security = ["name=seccomp,profile=default"]

    # images

    def images(self, name: str | None = None, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        if name:
            return [each for each in self.stored if self.tags.get(name) == each["Id"]]
        wanted = [label.partition("=") for label in (filters or {})["label"]]
        return [
            each
            for each in self.stored
            if all(
                each["Config"]["Labels"].get(key) == value if equals else key in each["Config"]["Labels"]
                for key, equals, value in wanted
            )
        ]

    def inspect_image(self, image: str) -> dict[str, Any]:
        if image == "sha256:hub":
            return {"Id": image, "Config": {"Labels": HUB_IMAGE}}
        [found] = [each for each in self.stored if each["Id"] == image]
        return found

    def remove_image(self, name: str) -> None:
        self.calls.append(f"rmi {name}")
        if self.refuses:
            raise self.refuses
        self.stored = [each for each in self.stored if {each["Id"], *each["RepoTags"]}.isdisjoint({name})]

    def tag(self, image: str, repository: str, tag: str, *, force: bool) -> None:
        self.tags[f"{repository}:{tag}"] = image

    # networks

    def networks(self, names: Sequence[str] = ("",)) -> list[dict[str, Any]]:
        # Docker also matches parts of names.
        return [each for each in self.made.values() if names[0] in each["Name"]]

    def create_network(self, name: str, **options: Any) -> None:
        if self.refuses:
            raise self.refuses
        pools = (options.get("ipam") or {"Config": [{"Subnet": "172.20.0.0/16"}]})["Config"]
        self.made[name] = {
            "Name": name,
            "Id": f"id-{name}-{len(self.calls)}",
            "Options": options.get("options"),
            "Containers": {},
            "IPAM": {"Config": pools},
        }

    def remove_network(self, name: str) -> None:
        assert not self.made[name]["Containers"], "Docker refuses this"
        self.calls.append(f"rm {name}")
        del self.made[name]

    def inspect_network(self, name: str) -> dict[str, Any]:
        return copy.deepcopy(self.made[name])

    def connect_container_to_network(self, container: str, network: str, **options: Any) -> None:
        if self.refuses:
            raise self.refuses
        self.calls.append(f"connect {container} {network} {options['ipv4_address']} {options['aliases']}")
        self.made[network].setdefault("Containers", {})[container] = {}
        self.of(container)["NetworkSettings"]["Networks"][network] = {
            "NetworkID": self.made[network]["Id"],
            "IPAddress": options["ipv4_address"] or "172.20.0.9",
        }

    def restart(self, container: str, timeout: int) -> None:
        self.calls.append(f"restart {container}")

    def disconnect_container_from_network(self, container: str, network: str, *, force: bool) -> None:
        self.calls.append(f"disconnect {container} {network}")
        self.made[network]["Containers"].pop(container, None)
        del self.of(container)["NetworkSettings"]["Networks"][network]

    # containers

    def add(self, name: str, *, kind: str = "", env: tuple[str, ...] = (), created: int = 1, **labels: str) -> None:
        self.present[name] = {
            "Id": name,
            "Name": f"/{name}",
            "Image": "sha256:hub",
            "Created": created,
            "State": {"Running": True},
            "Config": {"Env": list(env), "Labels": {"jupyterhub-ansible.kind": kind, **labels}},
            "NetworkSettings": {"Networks": {}},
        }

    def of(self, name: str) -> dict[str, Any]:
        if name not in self.present:
            raise NotFound("no such container", response=Mock(status_code=404))
        return self.present[name]

    inspect_container = of

    def containers(self, filters: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
        if filters is None:
            assert options == {"all": True}, "one that is stopped has its image, too"
            return [{"Id": each["Id"], "ImageID": each["Image"]} for each in self.present.values()]
        kind = [label.partition("=")[2] for label in filters["label"] if ".kind=" in label]
        found = [each for each in self.present.values() if each["Config"]["Labels"]["jupyterhub-ansible.kind"] in kind]
        return [{"Id": each["Id"], "Created": each["Created"]} for each in found]

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        return options

    def create_container(self, image: str, **options: Any) -> dict[str, str]:
        if self.no_mounts and options["host_config"]["mounts"]:
            raise refused(400, "bind source path does not exist: /run/systemd/resolve")
        self.add(options["name"])
        self.of(options["name"])["Config"]["Labels"] = options["labels"]
        self.of(options["name"])["options"] = options
        return {"Id": options["name"]}

    def start(self, name: str) -> None:
        self.calls.append(f"start {name}")

    def remove_container(self, name: str, **_: Any) -> None:
        self.calls.append(f"remove {name}")
        del self.present[name]

    def exec_create(self, name: str, command: list[str]) -> dict[str, str]:
        if self.silent:
            raise self.silent
        self.of(name)
        if command[0] == "python":
            return {"Id": command[-1]}
        if command[1] not in ("rules", "lacks"):
            self.calls.append(f"fence {command[1]}")
        return {"Id": command[1]}

    def exec_start(self, call: str) -> bytes:
        return self.said_to.get(call, {"rules": self.said, "lacks": b""}.get(call, b"loaded\n"))

    def exec_inspect(self, call: str) -> dict[str, int]:
        return {"ExitCode": 0}

    def info(self) -> dict[str, Any]:
        return {"MemTotal": 1, "CgroupDriver": "cgroupfs", "SecurityOptions": self.security}
