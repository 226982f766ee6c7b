#!/usr/bin/python
"""Module `image_listing`: list the engine's images, and find the programs and packages in some of them."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: image_listing
short_description: List the engine's images, and find the programs and packages in some of them
description:
  - Runs a container of each image once; what it finds is cached by the image's id, as long as the image exists.
  - Changes nothing else. Check mode does not write the cache, and treats an engine that does not answer as empty.
  - Fails if one of them, started as users' servers are, runs as root.
options:
  refs: {description: The images to inspect., type: list, elements: str, required: true}
  path: {description: File of the cache., type: path, required: true}
"""

RETURN = r"""
listing:
  description: Lines "<repository>:<tag> <repository>@<digest>" of all images, newest first.
  type: list
  returned: always
own:
  description: Those that the role made, as "<repository>:<tag>". They have their tag in a label; images that are built
    on them inherit the label, but not the tag.
  type: list
  returned: always
contents:
  description: "By image: programs, Python's and Debian's packages, with their versions. Without missing images."
  type: dict
  returned: always
"""

LABEL = "jupyterhub-ansible.content-hash"
LIST = ["docker", "image", "ls", "--quiet", "--no-trunc"]
INSPECT = ["docker", "image", "inspect"]
TIMEOUT_S = 60
# As the Hub starts users' servers (jupyterhub_ansible.spawner.limits).
AS_SERVERS = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
ROOT = 0
WORKERS = 2
# Runs in the image, with whatever Python it has.
LOOK = r"""
import json, os, platform, re, shutil, subprocess
from importlib import metadata

def printed(*command):
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return done.stdout if done.returncode == 0 else ""

packages = {}
for found in metadata.distributions():
    name = found.metadata["Name"]
    if name and found.version:
        packages.setdefault(re.sub(r"[-_.]+", "-", name).lower(), found.version)
programs = {"Python": platform.python_version()}
for name, command in {"R": ("R", "--version"), "Julia": ("julia", "--version")}.items():
    number = re.search(r"version (\d[\w.+-]*)", printed(*command))
    if number:
        programs[name] = number.group(1)
debian = dict(line.split("\t") for line in printed("dpkg-query", "-W", "-f", "${Package}\t${Version}\n").splitlines())
print(json.dumps({"programs": programs, "packages": packages, "debian": debian, "uid": os.getuid()}))
"""


Image = dict[str, Any]


def all_images() -> list[Image]:
    """Return the descriptions of all images, newest first."""
    ids = sorted(set(subprocess.run(LIST, capture_output=True, text=True, check=True).stdout.split()))
    # An image that was removed meanwhile is an error, but the answer still has all others.
    shown = subprocess.run([*INSPECT, *ids], capture_output=True, text=True, check=False).stdout if ids else ""
    return sorted(json.loads(shown or "[]"), key=lambda image: image.get("Created") or "", reverse=True)


def lines(image: Image) -> Iterator[str]:
    """Yield an image's names, each with its digests, as ``docker image ls --digests`` does."""
    digests = defaultdict(list)
    for name in image.get("RepoDigests") or []:
        repository, _, digest = name.partition("@")
        digests[repository].append(digest)
    tags = [name.rpartition(":")[::2] for name in image.get("RepoTags") or []]
    tags += [(repository, "<none>") for repository in digests.keys() - {repository for repository, _ in tags}]
    for repository, tag in tags:
        for digest in digests.get(repository, ["<none>"]):
            yield f"{repository}:{tag} {repository}@{digest}"


def own_refs(images: list[Image]) -> list[str]:
    """Return the names of images whose tag is the hash in their label."""
    found = set()
    for image in images:
        content = ((image.get("Config") or {}).get("Labels") or {}).get(LABEL)
        found |= {ref for ref in image.get("RepoTags") or [] if content and ref.endswith(f":{content}")}
    return sorted(found)


def ids_of(refs: list[str], images: list[Image]) -> dict[str, str]:
    """Return the ids of those of the images that exist."""
    names = {
        name: image["Id"] for image in images for key in ("RepoTags", "RepoDigests") for name in image.get(key) or []
    }
    ids = {}
    for ref in refs:
        # The engine also resolves other spellings of a name.
        if ref in names:
            ids[ref] = names[ref]
        else:
            done = subprocess.run([*INSPECT, "--format", "{{.Id}}", ref], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                ids[ref] = done.stdout.strip()
    return ids


def look(image: str) -> dict[str, Any]:
    """Return what is in an image, empty if it has no working Python."""
    name = f"image-listing-{uuid.uuid4().hex}"
    command = [
        "docker",
        "run",
        "--rm",
        "--name",
        name,
        "--interactive",
        "--network=none",
        *AS_SERVERS,
        "--entrypoint=python3",
        image,
        "-",
    ]
    try:
        done = subprocess.run(command, input=LOOK, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        # The timeout ended only the client.
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        return {}
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


def runs_as_root(image: str, found: dict[str, Any]) -> bool:
    """Return whether an image runs as root; without Python, by running `id`."""
    if "uid" in found:
        return bool(found["uid"] == ROOT)
    command = ["docker", "run", "--rm", "--network=none", *AS_SERVERS, "--entrypoint=id", image, "-u"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == str(ROOT)


def known(path: Path) -> dict[str, Any]:
    """Return the cache, empty if it is missing or damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "refs": {"type": "list", "elements": "str", "required": True},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        images = all_images()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        # A dry run on a new machine, where all images would be built.
        if module.check_mode:
            module.exit_json(changed=False, listing=[], own=[], contents={})
        module.fail_json(msg=f"The engine's images cannot be listed: {getattr(error, 'stderr', '') or error}")
    ids = ids_of(module.params["refs"], images)
    before = known(path)
    # An older version of this module did not record the user id.
    new = sorted({image for image in ids.values() if "uid" not in before.get(image, {})})
    with ThreadPoolExecutor(WORKERS) as pool:
        found = {**before, **dict(zip(new, pool.map(look, new), strict=True))}
    # Images that could not be inspected are tried again by the next run.
    now = {image: found[image] for image in sorted(set(ids.values())) if found[image]}
    if now != before and not module.check_mode:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A fixed name, so that the next run overwrites what an interrupted one left behind.
        replacement = path.with_name(f".{path.name}.new")
        replacement.touch(mode=0o600)
        replacement.write_text(json.dumps(now, indent=1), encoding="utf-8")
        replacement.replace(path)
    contents = {ref: found[image] for ref, image in ids.items()}
    if roots := [ref for ref, image in ids.items() if runs_as_root(image, found[image])]:
        module.fail_json(
            msg=f"images_environments: {', '.join(roots)}: runs as root, which a user's server must not. End its"
            " Dockerfile with USER 1000, or the uid of another ordinary user, or use another image. Until then, users"
            " keep the environments that they had."
        )
    listing = [line for image in images for line in lines(image)]
    module.exit_json(changed=False, listing=listing, own=own_refs(images), contents=contents)


if __name__ == "__main__":
    main()
