#!/usr/bin/python
"""Module `image_builds`: build images in parallel, test each one, and tag it only if it works."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import debian_packages, machine_record
from ..module_utils.image_runs import BuildError, Runner, build_all, secrets_of, wait_for

DOCUMENTATION = r"""
module: image_builds
short_description: Build, pull or bootstrap images
description:
  - An image is built as soon as its parent is there, and tagged last, after a container of it has been tested.
  - Works with BuildKit, through buildx or an older client, and with the classic builder. Check mode only returns what
    would be made.
options:
  images:
    description: What the filter images_packed returned, parents before children.
    type: list
    elements: dict
    required: true
  network:
    description:
      - The settings pip_index_url, npm_registry, http_proxy, https_proxy and no_proxy.
      - They do not end up in images or logs.
    type: dict
    default: {}
  ca_bundle:
    description: The certificate authorities of this machine, which the images also trust.
    type: path
    required: true
  logs:
    description: Private folder for each image's log and for the progress.
    type: path
    required: true
"""

LABEL = "jupyterhub-ansible"
LOCK = Path("/run/lock/jupyterhub-ansible-images")
PULL_TIMEOUT_S = 120
# Missing if ca-certificates is not installed: then only the distribution's own authorities are trusted.
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
TRY_TIMEOUT_S = 180
ENGINE_SETTINGS = Path("/etc/docker/daemon.json")
# From this version on, the client builds with BuildKit only through its plugin buildx.
WITHOUT_BUILDX = 23
SUITE = re.compile(r"^(?:.*/)?debian:(?P<suite>[a-z]+)(-slim)?$")
TRIALS = {
    "base": ["python3", "-c", "import ssl; ssl.create_default_context()"],
    "hub": ["python", "-m", "jupyterhub_ansible", "check", "--example"],
    "proxy": ["/usr/local/bin/try-proxy"],
    "ingress": ["/usr/local/bin/try-ingress"],
    "backup": ["/usr/local/bin/try-backup"],
    "environment": ["/opt/jupyter/libexec/try_server.py"],
}
# As the Hub starts users' servers (jupyterhub_ansible.spawner.limits), except for the seccomp profile, which is a file.
AS_SERVERS = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
ROOT = "0"
# How the classic builder names the image of a step.
SHORT_ID = 12
STEP = re.compile(rf"^ ---> ([0-9a-f]{{{SHORT_ID}}})$", re.MULTILINE)
# The Hub must be able to talk to any image, also to one of an operator's own Dockerfile.
RELEASE = ["jupyterhub-singleuser", "--version"]


class Builder(Runner):
    """Builds images on this machine's engine."""

    def __init__(self, network: Mapping[str, str], ca_bundle: Path, logs: Path) -> None:
        self.network = {key: value for key, value in network.items() if value}
        self.ca_bundle = ca_bundle
        self.logs = logs
        self.untagged: set[str] = set()
        self.command, buildkit = builder(os.environ.get("PATH", os.defpath), ENGINE_SETTINGS)
        self.proxies = {
            name: value
            for key in ("http_proxy", "https_proxy", "no_proxy")
            for name in (key, key.upper())
            if (value := self.network.get(key))
        }
        chosen = {"DOCKER_BUILDKIT": str(int(buildkit)), "BUILDKIT_PROGRESS": "plain"}
        super().__init__({**self.proxies, **chosen}, secrets_of(self.network.values()))

    def make(self, image: Mapping[str, Any], log: Path) -> None:
        """Make one image, whose parent already exists."""
        if self.answer(["docker", "image", "inspect", "--format", "{{.Id}}", image["ref"]]):
            return  # Another run made it while this one was waiting.
        if twin := self.twin(image):
            self.run(log, ["docker", "tag", twin, image["ref"]])
        elif image["kind"] == "os":
            self.make_os(image, log)
        elif image["kind"] in ("ready", "pulled"):
            self.pull(image["ref"], log)
            if image["kind"] == "ready":
                self.check_ready(image, log)
        else:
            made = self.build(image, log)
            self.untagged.add(made.removeprefix("sha256:")[:SHORT_ID])
            self.run(log, ["docker", "tag", self.tested(image, made, log), image["ref"]])

    def twin(self, image: Mapping[str, Any]) -> str:
        """Return the same image of another project on this engine, "" if there is none."""
        if not image["hash"]:
            return ""
        same = ["--filter", f"label={LABEL}.content-hash={image['hash']}", "--format", "{{.Repository}}:{{.Tag}}"]
        refs = self.answer(["docker", "image", "ls", *same]).split()
        return next((ref for ref in refs if ref.endswith(f"/{image['name']}:{image['hash']}")), "")

    def needed(self, images: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the images to build; the OS base is left out if `base`, the only image built on it, exists already."""
        twins = {image["name"] for image in images if image["kind"] == "base" and self.twin(image)}
        return [image for image in images if image["kind"] != "os" or not twins]

    def make_os(self, image: Mapping[str, Any], log: Path) -> None:
        """Get the OS base: a local image, one from a registry, or one made of packages."""
        source = image["source"]
        if not self.answer(["docker", "image", "inspect", "--format", "{{.Id}}", source]):
            try:
                self.pull(source, log, timeout=PULL_TIMEOUT_S)
            except BuildError:
                self.bootstrap(image, log)
                return
        self.run(log, ["docker", "tag", source, image["ref"]])

    def pull(self, ref: str, log: Path, timeout: float | None = None) -> None:
        """Pull an image that the engine does not have."""
        self.run(log, ["docker", "pull", ref], timeout=timeout)
        machine_record.remember(machine_record.IMAGES, {ref: ""})

    def bootstrap(self, image: Mapping[str, Any], log: Path) -> None:
        """Make a Debian image from packages, without a registry."""
        match = SUITE.match(image["source"])
        if not match:
            raise BuildError(f"{image['source']} cannot be pulled, and only debian:<suite> can be made from packages")
        if not shutil.which("mmdebstrap"):
            self.run(log, ["apt-get", "update", "-q"])
            debian_packages.install(["mmdebstrap", "debian-archive-keyring"], lambda command: self.apt(command, log))
        options = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale", "info")]
        options.insert(1, "--dpkgopt=path-include=/usr/share/doc/*/copyright")
        # As in the registry's images: after a power failure the build starts again anyway.
        options.append("--dpkgopt=force-unsafe-io")
        mirror = image["apt_mirror"].rstrip("/")
        sources = [f"deb {mirror} {suite} main" for suite in (match["suite"], f"{match['suite']}-updates")]
        sources.append(f"deb {mirror}-security {match['suite']}-security main")
        with tempfile.TemporaryDirectory(dir=self.logs) as folder:
            archive = str(Path(folder) / "os.tar")
            wanted = [match["suite"], archive, *(sources if mirror else [])]
            self.run(log, ["mmdebstrap", "--variant=minbase", *options, *wanted])
            labels = "LABEL " + " ".join(f"{key}={value}" for key, value in labels_of(image).items())
            self.run(log, ["docker", "import", "--change", labels, "--change", 'CMD ["bash"]', archive, image["ref"]])

    def apt(self, command: list[str], log: Path) -> str:
        """Run apt-get, and return what it adds to the log."""
        before = log.stat().st_size
        self.run(log, command, environment=debian_packages.ENVIRONMENT)
        return log.read_bytes()[before:].decode()

    def build(self, image: Mapping[str, Any], log: Path) -> str:
        """Build an image without a tag, and return its id."""
        command = [*self.command]
        parent = "OS" if image["kind"] == "base" else "BASE"
        for key, value in {parent: image["parent_ref"], **image["args"]}.items():
            command.append(f"--build-arg={key}={value}")
        # By name only, so that the values are not in the process list.  The engine keeps these predefined arguments out
        # of the image's history.
        command += [f"--build-arg={name}" for name in self.proxies]
        command += [f"--label={key}={value}" for key, value in labels_of(image).items()]
        with tempfile.TemporaryDirectory(dir=self.logs) as folder:
            result = Path(folder) / "id"
            self.run(log, [*command, f"--iidfile={result}", "-"], stdin=self.context(image))
            return result.read_text().strip()

    def context(self, image: Mapping[str, Any]) -> bytes:
        """Return the build context, with this machine's files in place of the empty ones."""
        bundle = self.ca_bundle.read_bytes() if self.ca_bundle.is_file() else b""
        ours = {"network.env": network_env(self.network).encode(), "ca-bundle.crt": bundle}
        packed = io.BytesIO()
        given = io.BytesIO(base64.b64decode(image["context"]))
        with tarfile.open(fileobj=given) as source, tarfile.open(fileobj=packed, mode="w") as target:
            for member in source:
                content = source.extractfile(member)
                if member.name in ours:
                    content = io.BytesIO(ours[member.name])
                    member.size = len(ours[member.name])
                target.addfile(member, content)
        return packed.getvalue()

    def tested(self, image: Mapping[str, Any], made: str, log: Path) -> str:
        """Return the image's id if a container of it works."""
        entrypoint, *arguments = TRIALS[image["kind"]]
        # Unique, since other projects' runs may be testing the same content.
        name = f"jupyterhub-ansible-trial-{image['name']}-{secrets.token_hex(4)}"
        run = ["docker", "run", "--rm", "--init", "--network=none", f"--name={name}"]
        with log.open("a", encoding="utf-8") as out:
            out.write("Testing the image: " + " ".join(TRIALS[image["kind"]]) + "\n")
        with tempfile.TemporaryDirectory(dir=self.logs) as folder:
            if image["kind"] == "environment":
                self.check_user(made, log)
                self.check_release(image, made, log)
                profile = Path(folder) / "seccomp.json"
                profile.write_text(image["seccomp"], encoding="utf-8")
                run += [*AS_SERVERS, f"--security-opt=seccomp={profile}"]
                # An operator's Dockerfile may not be based on our image.
                entrypoint, arguments = "sh", ["-c", f"[ ! -x {entrypoint} ] || exec {entrypoint}"]
            try:
                self.run(log, [*run, f"--entrypoint={entrypoint}", made, *arguments], timeout=TRY_TIMEOUT_S)
            except BuildError as error:
                subprocess.run(["docker", "rm", "--force", name], capture_output=True)
                raise BuildError(f"the image was built, but does not work: {error}") from error
        return made

    def check_ready(self, image: Mapping[str, Any], log: Path) -> None:
        """Remove a pulled image that is refused: with its tag, the next run would take it for checked."""
        try:
            self.check_user(image["ref"], log)
            self.check_release(image, image["ref"], log)
        except BuildError:
            subprocess.run(["docker", "image", "rm", image["ref"]], capture_output=True)
            raise

    def check_user(self, made: str, log: Path) -> None:
        """Refuse an image that runs as root: users' servers run as the image's user, and isolation relies on that."""
        command = ["docker", "run", "--rm", "--network=none", *AS_SERVERS, "--entrypoint=id", made, "-u"]
        uid = self.answer(command)
        with log.open("a", encoding="utf-8") as out:
            out.write(f"The image runs as the user id {uid or '(it has no program id)'}\n")
        if uid == ROOT:
            raise BuildError(
                "the image runs as root, which a user's server must not: end its Dockerfile with USER 1000, or the"
                " uid of another ordinary user"
            )

    def check_release(self, image: Mapping[str, Any], made: str, log: Path) -> None:
        """Refuse an image whose JupyterHub has another major version than the Hub's."""
        printed = self.answer(["docker", "run", "--rm", "--network=none", made, *RELEASE])
        found = printed.splitlines()[-1].strip() if printed else "no jupyterhub-singleuser"
        with log.open("a", encoding="utf-8") as out:
            out.write(f"JupyterHub in the image: {found}; the Hub: {image['hub_release']}\n")
        if found.split(".")[0] != image["hub_release"].split(".")[0]:
            hub = f"the Hub is JupyterHub {image['hub_release']}"
            raise BuildError(f"the image has {found}, but {hub}: the major versions must match")

    def clean_up(self, images: Sequence[Mapping[str, Any]]) -> None:
        """Remove what the builds of these images left without a tag: each would stay on the disk for good.

        These are images that failed their test, and with the classic builder the last step before one that failed, and
        the stages that an image was copied from, which read the network's settings.
        """
        subprocess.run(["docker", "image", "prune", "--force", f"--filter=label={LABEL}.stage"], capture_output=True)
        logs = [self.logs / f"{image['name']}.log" for image in images]
        made = {*self.untagged, *(step for log in logs if log.exists() for step in STEP.findall(log.read_text()))}
        dangling = self.answer(["docker", "image", "ls", "--filter=dangling=true", "--format={{.ID}}"]).split()
        for left in [each for each in dangling if each in made]:
            # Not by force: it may be in use.
            subprocess.run(["docker", "image", "rm", left], capture_output=True)


def builder(path: str, settings: Path) -> tuple[list[str], bool]:
    """Return the build command, and whether it uses BuildKit, which is faster.

    Args:
        path: the folders to search for a client.
        settings: the engine's settings file.  Before version 23, BuildKit's cache grows forever unless its garbage
            collection is enabled there.
    """
    if subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode == 0:
        return ["docker", "buildx", "build", "--builder=default", "--load"], True
    try:
        is_tidy = json.loads(settings.read_text())["builder"]["gc"]["enabled"] is True
    except (OSError, ValueError, KeyError, TypeError):
        is_tidy = False
    for folder in path.split(os.pathsep) if is_tidy else []:
        client = Path(folder or ".", "docker")
        if os.access(client, os.X_OK):
            said = subprocess.run([client, "--version"], capture_output=True, text=True).stdout
            version = re.match(r"Docker version (\d+)\.", said)
            if version and int(version[1]) < WITHOUT_BUILDX:
                return [str(client), "build"], True
    return ["docker", "build", "--force-rm"], False


def network_env(network: Mapping[str, str]) -> str:
    """Return the file that a build stage sources."""
    names = {"pip_index_url": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), "npm_registry": ("NPM_CONFIG_REGISTRY",)}
    quoted = {key: "'" + value.replace("'", "'\\''") + "'" for key, value in network.items()}
    return "".join(f"export {name}={quoted[key]}\n" for key in names if key in quoted for name in names[key])


def labels_of(image: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of an image that we make."""
    # Coolify's nightly clean-up removes unused images, except for those with this label.
    return {f"{LABEL}.kind": image["kind"], f"{LABEL}.content-hash": image["hash"], "coolify.managed": "true"}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "network": {"type": "dict", "default": {}, "no_log": True},
            "ca_bundle": {"type": "path", "required": True},
            "logs": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    images = module.params["images"]
    if module.check_mode:
        made = [{"name": image["name"], "ref": image["ref"]} for image in images]
        module.exit_json(changed=bool(images), made=made, failures=[])
    logs = Path(module.params["logs"])
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs.chmod(0o700)
    builder = Builder(module.params["network"], Path(module.params["ca_bundle"]), logs)
    if not builder.ca_bundle.is_file() and str(builder.ca_bundle) != SYSTEM_BUNDLE:
        module.fail_json(msg=f"images_ca_bundle: there is no file {builder.ca_bundle} on the target. Correct the path.")
    # Only the user and password of a URL are secret: messages must be able to name the index that does not answer.
    module.no_log_values = set(builder.masked)
    with LOCK.open("w") as lock:
        wait_for(lock, logs / "waiting")
        # Where buildx keeps a history of builds.
        appearing = [each for each in (Path.home() / ".docker", Path.home() / ".docker/buildx") if not each.exists()]
        machine_record.remember(machine_record.FOLDERS, {str(each): "" for each in appearing})
        # Left over from a power failure in the middle of a build.
        for left in logs.glob("tmp*"):
            shutil.rmtree(left)
        try:
            result = build_all(builder.needed(images), builder.make, logs)
        finally:
            builder.clean_up(images)
            (logs / "progress").unlink(missing_ok=True)
    module.exit_json(changed=bool(result["made"]), **json.loads(json.dumps(result)))


if __name__ == "__main__":
    main()
