"""Images are built in parallel, with progress and errors reported."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plugins.action import image_builds as action
from plugins.module_utils import machine_record
from plugins.module_utils.image_runs import BuildError, Progress, build_all, wait_for
from plugins.modules import image_builds as builds


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """What is recorded, instead of on this machine."""
    found: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(machine_record, "remember", lambda kind, values: found.append((kind, values)))
    return found


CANARY = "https://user:c4n%41ry@index.test/simple"


def images(**parents: str | None) -> list[dict[str, Any]]:
    return [{"name": name, "ref": f"p/{name}:1", "parent": parent} for name, parent in parents.items()]


def test_parents_first_and_in_parallel(tmp_path: Path) -> None:
    """Two children of one parent are made at the same time, after it."""
    made: list[str] = []
    together = threading.Barrier(2, timeout=10)

    def make(image: Mapping[str, Any], log: Path) -> None:
        if image["parent"]:
            assert made == ["base"]
            together.wait()
        made.append(image["name"])

    result = build_all(images(base=None, hub="base", proxy="base"), make, tmp_path)
    assert [image["name"] for image in result["made"]] == ["base", "hub", "proxy"]
    assert result["failures"] == []


def test_a_failure_stops_only_children(tmp_path: Path) -> None:
    def make(image: Mapping[str, Any], log: Path) -> None:
        if image["name"] == "env-base":
            log.write_text("Step 1\nit broke\n")
            raise BuildError("docker build ended with code 1")

    given = images(**{"base": None, "env-base": "base", "proxy": "base", "env-x": "env-base"})
    result = build_all(given, make, tmp_path)
    assert [image["name"] for image in result["made"]] == ["base", "proxy"]
    [base, child] = result["failures"]
    assert base["tail"] == ["Step 1", "it broke"]
    assert child["error"] == "its parent env-base was not made"
    told = action.message(result["failures"])
    assert "The image env-base was not made: docker build ended with code 1." in told
    assert str(tmp_path / "env-base.log") in told
    assert "Traceback" not in told


@pytest.fixture(autouse=True)
def docker_without_buildx(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake docker client, since the machine that runs these tests may have none."""
    client = tmp_path_factory.mktemp("bin") / "docker"
    client.write_text("#!/bin/sh\nexit 1\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")


def builder(tmp_path: Path, **network: str) -> Any:
    return builds.Builder(network, tmp_path / "bundle", tmp_path)


def test_a_password_is_masked_in_the_log(tmp_path: Path) -> None:
    maker = builder(tmp_path, pip_index_url=CANARY)
    log = tmp_path / "log"
    maker.run(log, ["echo", f"\x1b[91mfetching {CANARY}, that is c4nAry\x1b[0m"])
    assert log.read_text() == "fetching https://***@index.test/simple, that is ***\n"


def test_settings_take_the_place_of_the_contexts_empty_files(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("the host's authorities")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("Dockerfile", "network.env", "ca-bundle.crt"):
            archive.addfile(tarfile.TarInfo(name))
    maker = builder(tmp_path, pip_index_url=CANARY, npm_registry="https://it's.test")
    content = maker.context({"context": base64.b64encode(packed.getvalue()).decode()})
    (tmp_path / "context").mkdir()
    subprocess.run(["tar", "--extract", "--directory", tmp_path / "context"], input=content, check=True)
    assert (tmp_path / "context/ca-bundle.crt").read_text() == "the host's authorities"
    printed = ". ./network.env; echo $PIP_INDEX_URL $UV_DEFAULT_INDEX $NPM_CONFIG_REGISTRY"
    out = subprocess.run(["sh", "-c", printed], cwd=tmp_path / "context", capture_output=True, text=True, check=True)
    assert out.stdout.split() == [CANARY, CANARY, "https://it's.test"]


def test_a_proxys_password_is_in_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments are in the process list, which everyone can read."""
    maker = builder(tmp_path, https_proxy="http://user:c4nary@proxy.test:3128")
    seen: list[Any] = []

    def run(log: Path, command: list[str], **_: Any) -> None:
        seen.append(command)
        Path(next(word for word in command if word.startswith("--iidfile=")).removeprefix("--iidfile=")).write_text(
            "id"
        )

    monkeypatch.setattr(maker, "run", run)
    monkeypatch.setattr(maker, "context", lambda image: b"")
    image = {"name": "hub", "kind": "hub", "hash": "h", "parent_ref": "p/base:1", "args": {}}
    assert maker.build(image, tmp_path / "log") == "id"
    assert "--build-arg=HTTPS_PROXY" in seen[0]
    assert "c4nary" not in " ".join(seen[0])
    assert maker.environment["https_proxy"] == "http://user:c4nary@proxy.test:3128"


TIDY = {"builder": {"gc": {"enabled": True}}}


@pytest.mark.parametrize(
    ("clients", "settings", "command", "buildkit"),
    [
        # The client of Debian 13 with the plugin, then without it.
        ({"bin": "26.1.5"}, TIDY, "docker build --force-rm", False),
        ({"bin": "26.1.5 buildx"}, {}, "docker buildx build --builder=default --load", True),
        # Debian 12's client, also after another one in the path; and with an engine that never cleans up its cache.
        ({"bin": "20.10.24+dfsg1"}, TIDY, "bin/docker build", True),
        ({"local": "28.2.2", "bin": "20.10.24+dfsg1"}, TIDY, "bin/docker build", True),
        ({"bin": "20.10.24+dfsg1"}, {}, "docker build --force-rm", False),
        ({"bin": "20.10.24+dfsg1"}, {"builder": {"gc": {"enabled": False}}}, "docker build --force-rm", False),
        ({"bin": "20.10.24+dfsg1"}, {"builder": "x"}, "docker build --force-rm", False),
        ({"bin": ""}, TIDY, "docker build --force-rm", False),
    ],
)
def test_the_faster_builder_is_preferred(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clients: dict[str, str],
    settings: dict[str, Any],
    command: str,
    buildkit: bool,
) -> None:
    for name, said in clients.items():
        version, _, plugin = said.partition(" ")
        client = tmp_path / name / "docker"
        client.parent.mkdir()
        client.write_text(
            f'#!/bin/sh\n[ "$1" != buildx ] || exit {int(not plugin)}\necho "Docker version {version}, build 297e128"\n'
        )
        client.chmod(0o755)
    path = os.pathsep.join(str(tmp_path / name) for name in clients)
    monkeypatch.setenv("PATH", f"{path}:/bin")
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(settings))
    found = builds.builder(path, file)
    assert (" ".join(found[0]).replace(f"{tmp_path}/", ""), found[1]) == (command, buildkit)
    file.unlink()
    assert builds.builder(path, file)[1] is (command.startswith("docker buildx"))


def test_a_step_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"sleep 60 took longer than 0 s"):
        builder(tmp_path).run(tmp_path / "log", ["sleep", "60"], timeout=0.2)


def test_the_same_image_of_another_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one with the same name and hash under another project's prefix, not just any image with the label."""
    maker = builder(tmp_path)
    monkeypatch.setattr(maker, "answer", lambda command: "mine/copy:abc\nother/hub:abc")
    assert maker.twin({"name": "hub", "hash": "abc"}) == "other/hub:abc"
    assert maker.twin({"name": "proxy", "hash": "abc"}) == ""
    assert maker.twin({"name": "env-x", "hash": ""}) == ""


def test_the_os_base_is_not_made_if_another_project_has_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = builds.Builder({}, tmp_path, tmp_path)
    wanted = [
        {"name": name, "kind": kind, "hash": "abc"} for name, kind in (("os", "os"), ("base", "base"), ("hub", "hub"))
    ]
    monkeypatch.setattr(maker, "answer", lambda command: "other/base:abc")
    assert [image["name"] for image in maker.needed(wanted)] == ["base", "hub"]
    monkeypatch.setattr(maker, "answer", lambda command: "")
    assert maker.needed(wanted) == wanted


def test_another_major_version_of_jupyterhub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = builder(tmp_path)
    monkeypatch.setattr(maker, "answer", lambda command: "Entered start.sh\n5.4.1")
    with pytest.raises(BuildError, match=r"has 5\.4\.1, but the Hub is JupyterHub 6\.1\.1"):
        maker.check_release({"hub_release": "6.1.1"}, "id", tmp_path / "log")


@pytest.mark.parametrize(("uid", "refused"), [("0", True), ("1000", False), ("", False)])
@pytest.mark.parametrize("kind", ["environment", "ready"])
def test_an_environment_that_runs_as_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: str, refused: bool, kind: str
) -> None:
    """It gets no tag; if an image cannot tell its user, the Hub refuses it."""
    maker, ran = builder(tmp_path), []
    asked = {"--entrypoint=id": uid, "jupyterhub-singleuser": "6.1.1"}
    monkeypatch.setattr(maker, "answer", lambda command: next((asked[word] for word in command if word in asked), ""))
    monkeypatch.setattr(maker, "run", lambda log, command, **_: ran.append(command))
    monkeypatch.setattr(maker, "build", lambda image, log: "id")
    image = {"name": "env-x", "kind": kind, "hash": "h", "ref": "p/env-x:h", "hub_release": "6.1.1", "seccomp": "{}"}
    if refused:
        with pytest.raises(BuildError, match=r"runs as root, .* USER 1000"):
            maker.make(image, tmp_path / "log")
        assert [command[1] for command in ran] == ([] if kind == "environment" else ["pull"])
    else:
        maker.make(image, tmp_path / "log")
        assert ran[-1][1] == ("tag" if kind == "environment" else "pull")


def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, str]) -> Path:
    """A docker client that gives these answers, by the words that commands begin with, and writes all commands down."""
    client, said = tmp_path / "fake" / "docker", tmp_path / "said"
    client.parent.mkdir()
    cases = "".join(f"  '{words}'*) {answer};;\n" for words, answer in answers.items())
    client.write_text(f'#!/bin/sh\necho "$*" >> {said}\ncase "$*" in\n{cases}esac\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    return said


def test_what_failed_builds_leave_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image that failed its test, and the classic builder's last step; not images of others."""
    listed = r"printf 'aaaaaaaaaaaa\nbbbbbbbbbbbb\ncccccccccccc\n'"
    said = fake_docker(tmp_path, monkeypatch, {"buildx": "exit 1", "image ls": listed, "run": "exit 1"})
    maker = builder(tmp_path)
    image = {"name": "hub", "kind": "hub", "hash": "", "ref": "p/hub:h"}
    monkeypatch.setattr(maker, "build", lambda image, log: "sha256:aaaaaaaaaaaa0123")
    with pytest.raises(BuildError, match="was built, but does not work"):
        maker.make(image, tmp_path / "hub.log")
    (tmp_path / "env-x.log").write_text("Step 1/2\n ---> bbbbbbbbbbbb\n ---> Running in cccccccccccc\nit broke\n")
    maker.clean_up([image, {"name": "env-x"}, {"name": "env-y"}])
    removed = [line for line in said.read_text().splitlines() if line.startswith("image rm")]
    assert removed == ["image rm aaaaaaaaaaaa", "image rm bbbbbbbbbbbb"]


def test_a_pulled_image_that_is_refused_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its tag, the next run would find nothing to do, and offer it."""
    said = fake_docker(tmp_path, monkeypatch, {"buildx": "exit 1", "image inspect": "exit 1", "run": "echo 0"})
    image = {"name": "env-x", "kind": "ready", "hash": "", "ref": "their/image:1", "hub_release": "6.1.1"}
    with pytest.raises(BuildError, match="runs as root"):
        builder(tmp_path).make(image, tmp_path / "log")
    assert said.read_text().splitlines()[-1] == "image rm their/image:1"


def test_a_pulled_image_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: list[tuple[str, dict[str, str]]]
) -> None:
    """Only those that the engine did not have, so that `make uninstall` removes no other."""
    image = {"name": "os", "kind": "os", "hash": "h", "ref": "p/os:h", "source": "debian:trixie-slim"}
    for answer, expected in (("echo an-id", []), ("exit 1", [("images", {"debian:trixie-slim": ""})])):
        maker = builder(tmp_path)
        monkeypatch.setattr(maker, "answer", lambda command, answer=answer: "id" if "echo" in answer else "")
        monkeypatch.setattr(maker, "run", lambda *_, **__: None)
        maker.make_os(image, tmp_path / "log")
        assert recorded == expected


def test_an_environment_is_tested_as_servers_are_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, ran = builder(tmp_path), []

    def run(log: Path, command: list[str], **_: Any) -> None:
        profile = next(word.partition("seccomp=")[2] for word in command if "seccomp=" in word)
        ran.append((command, Path(profile).read_text()))

    monkeypatch.setattr(maker, "answer", lambda command: "6.1.1")
    monkeypatch.setattr(maker, "run", run)
    image = {"name": "env-x", "kind": "environment", "hub_release": "6.1.1", "seccomp": "{the profile}"}
    assert maker.tested(image, "id", tmp_path / "log") == "id"
    [(trial, profile)] = ran
    assert {"--cap-drop=ALL", "--security-opt=no-new-privileges"} <= {*trial}
    assert profile == "{the profile}"
    assert [path.name for path in tmp_path.iterdir()] == ["log"], "nothing is left"


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        ("5.5   cause: Failed to fetch: http://x/simple/numpy/", "images_pip_index_url"),
        ("error: invalid peer certificate: UnknownIssuer", "images_ca_bundle"),
        ("E: Failed to fetch http://x/debian/dists", "images_apt_mirror"),
        ("npm error code ENOTFOUND", "images_npm_registry"),
        ("write /x: no space left on device", "docker system df"),
        ("No solution found when resolving dependencies:", "change the pip list"),
        ("E: Unable to locate package libfoo", "check the spelling"),
        ("hint: Build failures usually indicate a problem with the package", "add it to apt, such as gcc"),
        ("psycopg/psycopg.h:30:10: fatal error: Python.h: No such file or directory", "add it to apt, such as gcc"),
        ("ERROR: HTTP error 401 Client Error: 401 Unauthorized for url: https://x/simple/", "images_pip_index_url"),
        # An image's registry, as engines from 20.10 to 29, BuildKit and registries say it.
        ("pull access denied for x/y, repository does not exist or may require 'docker login'", "docker login"),
        ('Error response from daemon: Head "https://x/v2/y/manifests/1": no basic auth credentials', "docker login"),
        ('Error response from daemon: Head "https://x/v2/y/manifests/1": denied', "docker login"),
        ("Error response from daemon: unauthorized: authentication required", "docker login"),
        ("error from registry: denied", "docker login"),
        ('Head "https://x/v2/y/manifests/1": denied: access forbidden', "docker login"),
        ("failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized", "docker login"),
        ("pull access denied: server message: insufficient_scope: authorization failed", "docker login"),
        ("Error response from daemon: manifest for x/y:2 not found: manifest unknown", "name and tag"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "/etc/docker/certs.d"),
        ("http: server gave HTTP response to HTTPS client", "insecure-registries"),
    ],
)
def test_common_causes(said: str, setting: str) -> None:
    assert setting in action.advice(["Step 3/7", said, "returned a non-zero code: 1"])


def test_other_causes_are_in_the_log_only() -> None:
    assert action.advice(["segmentation fault"]) == ""


def test_a_notice_while_another_build_is_under_way(tmp_path: Path) -> None:
    notice = tmp_path / "waiting"
    with (tmp_path / "lock").open("w") as theirs, (tmp_path / "lock").open("w") as ours:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        thread = threading.Thread(target=wait_for, args=[ours, notice])
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert "waiting for another run's builds" in notice.read_text()
        fcntl.flock(theirs, fcntl.LOCK_UN)
        thread.join(5)
        assert not notice.exists()


@pytest.mark.parametrize("silence", [" ---> Running in 0a1b2c3d4e5f", "#9 sha256:0a1b2c3d4e5f"])
def test_uninformative_lines_are_not_shown_as_progress(tmp_path: Path, silence: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"#8 fetching\n{silence}\n\n")
    assert Progress._line("hub", 0, log).endswith("  #8 fetching\n")
