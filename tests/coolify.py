"""What Coolify turns a Compose file into: its parser (`applicationParser`) and its job (`ApplicationDeploymentJob`).

Ported from its public code of 2026 (4.x): networks, names, labels, variables, images, ARGs in Dockerfiles, and the
commands of its nightly clean-up.  Where versions differ, this follows the stricter one.
"""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

HELPER = "ghcr.io/coollabsio/coolify-helper"
CLEAN_UP = (
    'docker container prune -f --filter "label=coolify.managed=true" --filter "label!=coolify.proxy=true"',
    'docker image prune -af --filter "label!=coolify.managed=true"',
    "docker builder prune -af",
    f"docker images --filter before={HELPER}:1 --filter reference={HELPER} | grep {HELPER}"
    " | awk '{print $3}' | xargs -r docker rmi -f",
)
"""CleanupDocker with its defaults: `docker volume prune -af` and `docker network prune -f` are optional, and off."""

# Characters that Coolify refuses in names and paths (validateShellSafePath).
UNSAFE = re.compile(r"[`$(){};|&<>\n\r\t\"'\\]")
REFERENCE = re.compile(r"\$\{?([a-zA-Z_]\w*)\}?")
MODES = {"ro", "rw", "z", "Z"}


class CoolifyError(Exception):
    """Coolify would refuse the file."""


def generated(command: str) -> str:
    """Generate a value as generateEnvValue does."""
    kind, _, length = command.partition("_")
    if kind == "HEX":
        # bin2hex of that many bytes: twice as many digits.
        return secrets.token_hex(int(length or 32))
    if kind in ("PASSWORD", "BASE64"):
        return secrets.token_urlsafe(int(length or 32))
    raise CoolifyError(f"SERVICE_{command}_*: not ported")


def _split(reference: str) -> tuple[str, str, str]:
    """Return name, operator and default of `${NAME<operator>default}`; the default may contain further references."""
    inside = reference[2 : reference.rindex("}")]
    found = re.match(r"(\w+)(:-|-|:\?|\?)?(.*)", inside, re.DOTALL)
    if not found:
        raise CoolifyError(f"not understood: {reference}")
    return found[1], found[2] or "", found[3]


def _pairs(environment: Any) -> dict[str, Any]:
    if isinstance(environment, list):
        return dict((line.split("=", 1) if "=" in line else (line, None)) for line in environment)
    return dict(environment or {})


class Resource:
    """A resource of the type "Docker Compose": what Coolify keeps between deployments, and what it deploys.

    Args:
        uuid: Coolify's name for it.
        raw: the content of docker-compose.yml.
        variables: those that the user entered.
        domain: the URL of the service `proxy`, as the user entered it.
    """

    def __init__(self, uuid: str, raw: str, variables: Mapping[str, str], domain: str) -> None:
        self.uuid, self.raw, self.domain = uuid, yaml.safe_load(raw), domain
        self.variables: dict[str, str | None] = dict(variables)
        self.required: set[str] = set()
        for name in self.raw.get("services") or {}:
            self._insist_safe(name, "service name")

    @staticmethod
    def _insist_safe(text: str, what: str) -> None:
        if UNSAFE.search(text):
            raise CoolifyError(f"{what}: {text}")

    # --- variables

    def _magic(self) -> None:
        """Generate the variables that start with SERVICE_."""
        for service in self.raw["services"].values():
            for key, value in self._environment_of(service).items():
                for name in REFERENCE.findall(str(value)):
                    if not name.startswith("SERVICE_"):
                        continue
                    command = name.removeprefix("SERVICE_").rpartition("_")[0]
                    if command.startswith(("URL", "FQDN")):
                        self._addresses(key)
                    else:
                        self.variables.setdefault(name, generated(command))

    def _addresses(self, key: str) -> None:
        found = re.fullmatch(r"SERVICE_(?:URL|FQDN)_(\w+?)(?:_(\d+))?", key)
        if not found:
            raise CoolifyError(f"not understood: {key}")
        service, port = found.groups()
        address = urlsplit(self.domain)
        for name, value in {
            f"SERVICE_URL_{service}": f"{address.scheme}://{address.hostname}",
            f"SERVICE_FQDN_{service}": str(address.hostname),
        }.items():
            self.variables[name] = value
            if port:
                self.variables[f"{name}_{port}"] = f"{value}:{port}"

    @staticmethod
    def _environment_of(service: Mapping[str, Any]) -> dict[str, Any]:
        return {**_pairs(service.get("environment")), **_pairs((service.get("build") or {}).get("args"))}

    def _remember(self, name: str, value: str, *, required: bool) -> None:
        # Coolify shows the text after a question mark as the variable's value.
        if name not in self.variables:
            self.variables[name] = value
        if required:
            self.required.add(name)

    def _resolve(self, environment: dict[str, Any]) -> dict[str, Any]:
        """Register the variables that the environment refers to, and pass them to the service as well."""
        result = dict(environment)
        for key, value in environment.items():
            text = str(value)
            if key.startswith("SERVICE_") or not text.startswith("${"):
                continue
            name, operator, default = _split(text)
            if name == key and not operator:
                self._remember(name, "", required=False)
                continue
            self._remember(name, default, required="?" in operator)
            result[name] = self.variables[name]
            for nested in re.findall(r"\$\{(\w+)[^}]*\}", default):
                self._remember(nested, "", required=False)
                result[nested] = self.variables[nested]
        return {key: value for key, value in result.items() if not key.startswith("SERVICE_FQDN_")}

    # --- services

    def _volumes(self, volumes: list[str], top: dict[str, Any]) -> Iterator[str]:
        for volume in volumes:
            source, target, *mode = volume.split(":")
            self._insist_safe(source, "volume source")
            self._insist_safe(target, "volume target")
            if not source.startswith(("/", ".", "~")):
                source = f"{self.uuid}_{re.sub(r'[^a-z0-9]+', '-', source.lower()).strip('-')}"
                top[source] = {"name": source}
            elif source not in ("/var/run/docker.sock", "/tmp"):
                raise CoolifyError(f"{source}: Coolify keeps files of its own for such a bind; not ported")
            if mode and mode[0] not in MODES:
                raise CoolifyError(f"volume: {volume}")
            yield ":".join([source, target, *mode])

    def _labels(self, name: str, service: Mapping[str, Any], container: str) -> list[str]:
        given = service.get("labels") or []
        own = [f"{key}={value}" for key, value in given.items()] if isinstance(given, dict) else list(given)
        labels = [
            *own,
            "coolify.managed=true",
            "coolify.version=4.3.0",
            "coolify.applicationId=7",
            "coolify.type=application",
            f"coolify.name={container}",
            "coolify.resourceName=hub",
            "coolify.projectName=team",
            "coolify.serviceName=hub",
            "coolify.environmentName=production",
            "coolify.pullRequestId=0",
        ]
        # The option "Escape special characters in labels" is on.
        labels = [label.replace("$", "$$") for label in labels]
        if name == "proxy":
            labels += [f"traefik.docker.network={self.uuid}", *self._traefik(name), *self._caddy()]
        return labels

    def _traefik(self, service: str) -> Iterator[str]:
        address = urlsplit(self.domain)
        rule = f"Host(`{address.hostname}`) && PathPrefix(`{address.path or '/'}`)"
        yield "traefik.enable=true"
        yield "traefik.http.middlewares.gzip.compress=true"
        yield "traefik.http.middlewares.redirect-to-https.redirectscheme.scheme=https"
        for scheme in ("https", "http") if address.scheme == "https" else ("http",):
            router = f"{scheme}-0-{self.uuid}-{service}"
            yield f"traefik.http.routers.{router}.rule={rule}"
            yield f"traefik.http.routers.{router}.entryPoints={scheme}"
            if address.port:
                yield f"traefik.http.routers.{router}.service={router}"
                yield f"traefik.http.services.{router}.loadbalancer.server.port={address.port}"
            to_https = scheme == "http" and address.scheme == "https"
            yield f"traefik.http.routers.{router}.middlewares={'redirect-to-https' if to_https else 'gzip'}"
            if scheme == "https":
                yield f"traefik.http.routers.{router}.tls=true"
                yield f"traefik.http.routers.{router}.tls.certresolver=letsencrypt"

    def _caddy(self) -> Iterator[str]:
        address = urlsplit(self.domain)
        yield f"caddy_ingress_network={self.uuid}"
        yield f"caddy_0={address.scheme}://{address.hostname}"
        yield "caddy_0.header=-Server"
        yield f"caddy_0.handle_path.0_reverse_proxy={{{{upstreams {address.port}}}}}"
        yield f"caddy_0.handle_path={address.path}*"

    def _networks(self, service: Mapping[str, Any], declared: list[str]) -> dict[str, Any]:
        given = service.get("networks") or {}
        mapping = dict.fromkeys(given) if isinstance(given, list) else dict(given)
        return {**mapping, **dict.fromkeys(declared), self.uuid: None}

    # --- deployments

    def deployment(self, commit: str, serial: str) -> dict[str, Any]:
        """Return the Compose file that Coolify deploys.

        Args:
            commit: of the repository, all 40 digits.
            serial: makes the names of this deployment's containers unique.
        """
        self._magic()
        declared = [name for name in self.raw.get("networks") or {} if name != "default"]
        top: dict[str, Any] = {name: item for name, item in (self.raw.get("volumes") or {}).items() if item is not None}
        services = {}
        for name, original in self.raw["services"].items():
            service = copy.deepcopy(original)
            container = f"{name}-{self.uuid}-{serial}"
            service.pop("exclude_from_hc", None)
            on_host = service.get("network_mode") is not None
            service |= {
                "container_name": container,
                "restart": service.get("restart", "unless-stopped"),
                "labels": self._labels(name, original, container),
                "environment": {
                    **self._resolve(self._environment_of(original)),
                    "COOLIFY_BRANCH": '"main"',
                    "COOLIFY_RESOURCE_UUID": self.uuid,
                    "COOLIFY_CONTAINER_NAME": container,
                    **{f"SERVICE_NAME_{each.upper().replace('-', '_')}": each for each in self.raw["services"]},
                },
                # Every service receives every variable.
                "env_file": [".env"],
            }
            if not on_host:
                service["networks"] = self._networks(original, declared)
            if service.get("volumes"):
                service["volumes"] = list(self._volumes(original["volumes"], top))
            if "build" in service and "image" not in service:
                service["image"] = f"{self.uuid}_{name}:{commit}"
            services[name] = service
        networks = {**(self.raw.get("networks") or {}), self.uuid: {"name": self.uuid, "external": True}}
        return {"services": services, "volumes": top, "networks": networks}

    def env_file(self) -> str:
        """Return the .env file, which Coolify writes for both build and run."""
        return "".join(f"{name}='{value}'\n" for name, value in self.variables.items() if value is not None)

    def arguments(self) -> list[str]:
        """Return the variables that builds receive: all of them, unless the user unticks some."""
        return [*self.variables, "SOURCE_COMMIT", "COOLIFY_URL", "COOLIFY_FQDN", "COOLIFY_BRANCH"]

    def dockerfile(self, text: str) -> str:
        """Return a Dockerfile with an ARG for each of these variables at the start of each stage."""
        lines = text.strip().split("\n")
        starts = [number for number, line in enumerate(lines) if line.strip().startswith("FROM")]
        result = lines[: starts[0]]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            declared = set()
            for line in lines[start + 1 : end]:
                if not line.strip().startswith("ARG"):
                    break
                declared.add(line.split(maxsplit=1)[1].partition("=")[0])
            added = [f"ARG {name}" for name in self.arguments() if name not in declared]
            result += [lines[start], *added, *lines[start + 1 : end]]
        return "\n".join(result)
