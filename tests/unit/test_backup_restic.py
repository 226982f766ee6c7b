"""What failures of restic mean for the operator, and which locks a run removes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jupyterhub_backup import restic
from jupyterhub_backup.places import Places

SSH = "server unexpectedly closed connection: unexpected EOF"


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [
        (12, "Fatal: wrong password or no key found", "the key is wrong"),
        (12, "", "the key is wrong"),
        (10, "Fatal: repository does not exist", "there is no repository at /repository"),
        (
            11,
            "unable to create lock in backend: repository is already locked by PID 42 on other by root",
            "PID 42 on other",
        ),
        (1, "Fatal: write /repository/data/x: no space left on device", "the store is full"),
        (1, "unexpected HTTP response (507): 507 Insufficient Storage", "the store is full"),
        (1, "unexpected HTTP response (401): 401 Unauthorized", "refuses the credentials"),
        (1, f"subprocess ssh: Host key verification failed.\nFatal: {SSH}", "refuses the credentials"),
        (1, f"subprocess ssh: store@host: Permission denied (publickey).\nFatal: {SSH}", "refuses the credentials"),
        (1, f"Fatal: unable to start the sftp session, error: {SSH}", "refuses the credentials"),
        (1, "dial tcp 192.0.2.1:443: connect: connection refused", "cannot be reached"),
        (1, "dial tcp: lookup nowhere: no such host", "cannot be reached"),
        (1, "pack 1234: ciphertext verification failed", "the repository is damaged"),
        (1, "mkdir /repository/locks: permission denied", "cannot be written"),
        (-9, "", "restic was killed"),
        (137, "", "restic was killed"),
        (7, "something new", "restic failed with 7: something new"),
        (7, '{"message_type":"exit_error","code":7,"message":"Fatal: novel"}', "restic failed with 7: Fatal: novel"),
    ],
)
def test_each_failure_has_its_message(code: int, said: str, words: str) -> None:
    assert words in restic.explained(restic.Done(code, "", said), "/repository")


@pytest.mark.parametrize(
    ("repository", "where"),
    [
        ("/backups/hub", None),
        ("rest:https://host/path", ("host", 443)),
        ("rest:http://host:8000/path", ("host", 8000)),
        ("sftp:user@host:/path", ("host", 22)),
        ("sftp://user@host:2222//path", ("host", 2222)),
        ("s3:https://s3.host/bucket", ("s3.host", 443)),
        ("s3:http://host:9000/bucket", ("host", 9000)),
        ("s3:host/bucket", ("host", 443)),
    ],
)
def test_where_a_store_is(repository: str, where: tuple[str, int] | None) -> None:
    assert restic.address(repository) == where


SNAPSHOTS = [
    {"id": "aaaa1111", "time": "2026-11-27T03:30:00Z"},
    {"id": "bbbb2222", "time": "2026-11-28T03:30:00Z"},
    {"id": "cccc3333", "time": "2026-11-28T15:30:00Z"},
    {"id": "dddd4444", "time": "2026-11-29T03:30:00Z"},
]


@pytest.mark.parametrize(
    ("wanted", "found"), [("latest", "dddd4444"), ("", "dddd4444"), ("2026-11-28", "cccc3333"), ("aaaa", "aaaa1111")]
)
def test_a_snapshot_is_chosen(wanted: str, found: str) -> None:
    assert restic.chosen(SNAPSHOTS, wanted)["id"] == found


@pytest.mark.parametrize("wanted", ["2026-11-26", "a", "ffff"])
def test_a_snapshot_that_does_not_exist(wanted: str) -> None:
    with pytest.raises(restic.StoreError, match="2026-11-27, 2026-11-28, 2026-11-29"):
        restic.chosen(SNAPSHOTS, wanted)
    with pytest.raises(restic.StoreError, match="no backup yet"):
        restic.chosen([], wanted)


class Locked(restic.Restic):
    """A repository with locks of these hosts."""

    def __init__(self, places: Places, *hosts: str) -> None:
        super().__init__(places, "/repository")
        self.hosts = hosts
        self.calls: list[str] = []

    def call(self, *arguments: str) -> restic.Done:
        self.calls.append(" ".join(arguments))
        if arguments[0] == "cat":
            return restic.Done(0, json.dumps({"hostname": self.hosts[int(arguments[2])]}), "")
        return restic.Done(0, "\n".join(map(str, range(len(self.hosts)))), "")


@pytest.mark.parametrize(
    ("hosts", "removed"), [((), 0), (("me",), 1), (("me", "me"), 2), (("other",), 0), (("me", "other"), 0)]
)
def test_only_locks_of_this_machine_are_removed(tmp_path: Path, hosts: tuple[str, ...], removed: int) -> None:
    locked = Locked(Places(tmp_path), *hosts)
    assert locked.remove_stale_locks("me") == removed
    assert ("unlock --remove-all" in locked.calls) == bool(removed)


def test_credentials_are_in_the_environment_of_restic_alone(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.secrets.mkdir(parents=True)
    for name in ("password", "AWS_ACCESS_KEY_ID", "SSH_KEY"):
        (places.secrets / name).write_text(f"value of {name}")
    s3 = restic.Restic(places, "s3:https://host/bucket")
    assert s3.environment["AWS_ACCESS_KEY_ID"] == "value of AWS_ACCESS_KEY_ID"
    assert not {"SSH_KEY", "password"} & set(s3.environment)
    assert "value of" not in " ".join(s3.options)


def test_ssh_gets_a_key_that_ends_in_a_line_break(tmp_path: Path) -> None:
    """The role writes secrets without."""
    places = Places(tmp_path)
    for folder in (places.secrets, tmp_path / "tmp"):
        folder.mkdir(parents=True)
    (places.secrets / "SSH_KEY").write_text("-----BEGIN\n-----END")
    [option] = [each for each in restic.Restic(places, "sftp:host:/path").options if "sftp.args" in each]
    assert f"-i {tmp_path}/tmp/SSH_KEY " in option
    key = tmp_path / "tmp/SSH_KEY"
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("-----BEGIN\n-----END\n", 0o600)
