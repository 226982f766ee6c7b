"""Images that a new machine built itself: without a registry, through an HTTP proxy that requires a password."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LABELS = "jupyterhub-ansible."
LOGS = "/srv/jupyterhub/builds"
FILES = Path(__file__).parents[3] / "molecule/images/files"
SERVER_STARTS = """
jupyter-lab --no-browser --ServerApp.token=x >/tmp/log 2>&1 &
for _ in $(seq 600); do grep -q 'is running at' /tmp/log && exit; sleep 0.1; done
cat /tmp/log; exit 1
"""
BROKEN = {"slug": "broken", "title": "Broken", "dockerfile": str(FILES / "broken")}


def tags(host: Any) -> set[str]:
    """Return the names of all tagged images."""
    listed = host.check_output("docker image ls --filter dangling=false --format '{{.Repository}}:{{.Tag}}'")
    return set(listed.split())


def untagged(host: Any) -> set[str]:
    """Return the ids of images without a name."""
    return set(host.check_output("docker image ls --filter dangling=true --quiet").split())


def images(host: Any) -> dict[str, dict[str, Any]]:
    """Return `docker image inspect` of each, by the last part of its repository's name."""
    described = json.loads(host.check_output("docker image inspect " + " ".join(sorted(tags(host)))))
    return {re.split("[/:]", image["RepoTags"][0])[1]: image for image in described}


@pytest.fixture
def canary(host: Any) -> str:
    return str(host.ansible.get_variables()["vps_canary"])


def test_images_are_tagged_with_their_content_hash(host: Any) -> None:
    found = images(host)
    assert set(found) == {"os", "base", "hub", "proxy", "env-base", "env-tiny"}
    for image in found.values():
        labels = image["Config"]["Labels"]
        assert image["RepoTags"][0].startswith("jupyterhub/")
        assert image["RepoTags"][0].endswith(":" + labels[LABELS + "content-hash"])
        assert labels["coolify.managed"] == "true"
    assert found["env-tiny"]["Config"]["Labels"][LABELS + "kind"] == "environment"


def test_user_image_is_smaller_than_500_mb(host: Any) -> None:
    assert images(host)["env-base"]["Size"] < 500e6


def test_no_image_runs_as_root(host: Any) -> None:
    found = images(host)
    users = {name: found[name]["Config"]["User"] for name in ("hub", "proxy", "env-base", "env-tiny")}
    assert users == {"hub": "64101", "proxy": "64102", "env-base": "1000", "env-tiny": "1000"}


def test_operator_s_packages_are_in_their_own_environment(host: Any) -> None:
    """Those of `pip` find what those of `apt` bring."""
    ref = images(host)["env-tiny"]["RepoTags"][0]
    said = host.check_output(
        "docker run --rm %s sh -c %s", ref, "tree --version && python -c 'import cowsay, wheel, sys; print(sys.prefix)'"
    )
    assert said.endswith("/envs/tiny-py3.13")


def test_operator_s_extension_of_jupyterlab_works(host: Any) -> None:
    """What users install themselves has no part in the server (tests/unit/test_user_labextensions.py)."""
    ref = images(host)["env-tiny"]["RepoTags"][0]
    script = Path(__file__).with_name("extension.py").read_text()
    run = "docker run --rm --network none %s /opt/jupyter/bin/python -c %s"
    assert host.check_output(run, ref, script) == "True ['first words']"


def test_images_trust_the_host_s_cas(host: Any) -> None:
    """The last CA of the host's bundle is in that of the image."""
    ref = images(host)["base"]["RepoTags"][0]
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    last = host.file(bundle).content_string.split("-----BEGIN CERTIFICATE-----")[-1].split("-----END")[0].split()
    assert "".join(last) in host.check_output("docker run --rm %s cat %s", ref, bundle).replace("\n", "")


def test_user_s_packages_persist_and_cannot_break_the_server(host: Any) -> None:
    """In their own environment the user overrides what server and kernel depend on."""
    ref = images(host)["env-base"]["RepoTags"][0]
    run = f"docker run --rm --network none --volume hostile:/home/jovyan {ref}"
    hostile = (
        'for name in tornado jupyter_server jupyterhub; do mkdir -p "$1/$name";'
        ' echo "raise SystemExit(9)" > "$1/$name/__init__.py"; done;'
        ' cp /bin/false "$VIRTUAL_ENV/bin/jupyterhub-singleuser"'
    )
    try:
        folder = host.check_output(run + " python -c %s", "import sysconfig; print(sysconfig.get_path('purelib'))")
        host.check_output(run + " sh -c %s sh %s", hostile, folder)
        assert host.run(run + " python -c 'import tornado'").rc == 9
        assert host.check_output(run + " jupyterhub-singleuser --version").startswith("6.")
        host.check_output(run + " sh -c %s", SERVER_STARTS)
        # An incomplete environment is repaired.
        host.check_output(run + " sh -c %s", 'rm "$VIRTUAL_ENV/bin/python" "$VIRTUAL_ENV/pyvenv.cfg"')
        assert host.check_output(run + " python -c %s", "import sys; print(sys.prefix)").endswith("/envs/base-py3.13")
    finally:
        host.check_output("docker volume rm --force hostile")


def test_password_of_the_http_proxy_is_not_kept(host: Any, canary: str) -> None:
    """Neither in an image, its history or environment, nor in a log, nor in an intermediate stage."""
    shapes = [canary, base64.b64encode(f"builder:{canary}".encode()).decode()]
    every = host.check_output("docker image ls --all --quiet --no-trunc").split()
    said = host.check_output("docker image inspect " + " ".join(every))
    for image in every:
        said += host.check_output("docker image history --no-trunc %s", image)
    said += host.check_output(f"cat {LOGS}/*.log")
    assert "Step" in said or "#1" in said
    for shape in shapes:
        assert shape not in said
    # The proxy does require it.
    assert host.run("http_proxy=http://172.31.99.1:3128 apt-get update").stdout.count("407") > 0
    assert host.file(LOGS).mode == 0o700


def test_broken_environment_leaves_the_others_alone(host: Any, converge: Callable[..., Any], canary: str) -> None:
    before = tags(host)
    run = converge(more_environments=[BROKEN])
    assert not run.ok
    assert "The image env-broken was not made" in run.output
    assert "this is what went wrong" in run.output
    assert f"{LOGS}/env-broken.log" in run.output
    assert "Traceback" not in run.output
    assert canary not in run.output
    assert tags(host) == before


def test_image_that_runs_as_root_is_refused(host: Any, converge: Callable[..., Any], tmp_path: Path) -> None:
    """Both one that is built, under any user name, and one that exists already."""
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nUSER root\nRUN useradd -ou 0 ann\nUSER ann\n")
    before, nameless = tags(host), untagged(host)
    run = converge(more_environments=[{"slug": "alias", "title": "Alias", "dockerfile": str(tmp_path)}])
    assert not run.ok
    assert "The image env-alias was not made: the image runs as root" in run.said
    assert "USER 1000" in run.said
    assert tags(host) == before
    assert untagged(host) == nameless, "what was refused does not stay on the disk"

    ready = images(host)["base"]["RepoTags"][0]
    run = converge(more_environments=[{"slug": "ready", "title": "Ready", "image": ready}])
    assert not run.ok
    assert f"images_environments: {ready}: runs as root" in run.said


def test_requirements_that_break_the_server_are_refused(host: Any, converge: Callable[..., Any]) -> None:
    before = tags(host)
    run = converge(more_environments=[{"slug": "old", "title": "Old", "pip": ["tornado==6.1"]}])
    assert not run.ok
    assert "The image env-old was not made" in run.said
    assert "change the pip list" in run.said
    assert tags(host) == before


def test_unreachable_index_fails_without_leaking_its_password(host: Any, converge: Callable[..., Any]) -> None:
    """Not in the output, the log, or what the build leaves behind."""
    secret = "c4n4ry-of-the-index"
    index = f"http://me:{secret}@172.31.99.1:9/simple"
    new = {"slug": "new", "title": "New", "pip": ["humanize"]}
    run = converge(more_environments=[new], images_pip_index_url=index, images_no_proxy="172.31.99.1")
    assert not run.ok
    assert "images_pip_index_url" in run.output
    assert secret not in run.output
    assert secret not in host.check_output(f"cat {LOGS}/env-new.log")
    every = host.check_output("docker image ls --all --quiet").split()
    assert secret not in host.check_output("docker image inspect " + " ".join(every))


def test_old_tags_are_removed_unless_used(host: Any, converge: Callable[..., Any]) -> None:
    """Of five old tags the newest two stay, and one that a stopped container uses; all of somebody else's stay."""
    ref = images(host)["base"]["RepoTags"][0]
    mine = [f"jupyterhub/env-base:{number:016x}" for number in range(5)]
    # Images that somebody built on ours have our label, but not its hash as tag.
    foreign = ["other/env-base:" + "a" * 16, "jupyterhub/env-base:by-hand", "jupyterhub/mine:" + "b" * 16]
    # Their age is compared in seconds.
    for name in [*mine, *foreign]:
        label = f"--label jupyterhub-ansible.content-hash={name.partition(':')[2]}" if name in mine else ""
        build = f"sleep 1; printf 'FROM {ref}\\nRUN : {name}\\n' | docker build --quiet {label} --tag {name} -"
        host.check_output(build)
    host.check_output("docker create --name user-of-an-old-one %s true", mine[0])
    before = tags(host)
    try:
        run = converge()
        assert run.ok, run.output
        assert tags(host) == before - {mine[1], mine[2]}
        again = converge()
        assert again.changed == 0
    finally:
        host.check_output("docker rm user-of-an-old-one")
        host.run("docker rmi " + " ".join([*mine, *foreign]))
