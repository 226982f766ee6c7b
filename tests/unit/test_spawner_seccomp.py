"""System calls that a user's server may make; tests/e2e/test_2_limits.py tests them on a real kernel."""

import json
from typing import Any

import pytest
from jupyterhub_ansible.spawner.limits import HARDENING, merged
from jupyterhub_ansible.spawner.seccomp import PROFILE

ALG, VSOCK, RXRPC, KEY = 38, 40, 33, 15
OURS = f"seccomp={PROFILE}"


def verdict(call: str, *arguments: int) -> str:
    """Return the action of the first matching rule; like the kernel, compare all 64 bits of an argument."""
    profile = json.loads(PROFILE)
    for rule in profile["syscalls"]:
        if call in rule["names"] and all(_fits(each, arguments) for each in rule.get("args", [])):
            return str(rule["action"])
    return str(profile["defaultAction"])


def _fits(condition: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    value = arguments[int(condition["index"])]
    if condition["op"] == "SCMP_CMP_MASKED_EQ":
        return value & int(condition["value"]) == int(condition["valueTwo"])
    assert condition["op"] == "SCMP_CMP_EQ"
    return value == int(condition["value"])


@pytest.mark.parametrize("family", [1, 2, 10, 16])
def test_sockets_that_programs_use(family: int) -> None:
    assert verdict("socket", family) == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize("call", ["socket", "socketpair"])
@pytest.mark.parametrize("family", [ALG, VSOCK, RXRPC, KEY])
def test_sockets_with_a_history(call: str, family: int) -> None:
    """Also with upper bits that the kernel ignores."""
    assert verdict(call, family) == verdict(call, 2**32 + family) == "SCMP_ACT_ERRNO"


@pytest.mark.parametrize(
    "call",
    [
        *("io_uring_setup", "io_uring_enter", "io_uring_register", "socketcall", "clone3", "unshare", "setns", "mount"),
        *("bpf", "keyctl", "add_key", "userfaultfd", "perf_event_open", "kexec_load", "init_module"),
    ],
)
def test_calls_that_are_refused(call: str) -> None:
    assert verdict(call, 0) == "SCMP_ACT_ERRNO"


def test_no_new_namespaces() -> None:
    sigchld, new_user, thread = 17, 0x10000000, 0x3D0F00
    assert verdict("clone", sigchld) == verdict("clone", thread) == "SCMP_ACT_ALLOW"
    assert verdict("clone", new_user | sigchld) == "SCMP_ACT_ERRNO"


@pytest.mark.parametrize("call", ["ptrace", "process_vm_readv", "inotify_init1", "epoll_pwait2", "memfd_create"])
def test_calls_that_are_needed(call: str) -> None:
    assert verdict(call) == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize(
    ("theirs", "sent"),
    [
        ({}, HARDENING["security_opt"]),
        ({"security_opt": None}, HARDENING["security_opt"]),
        ({"security_opt": ["label=disable"]}, ["no-new-privileges", OURS, "label=disable"]),
        ({"security_opt": ["seccomp=unconfined"]}, ["no-new-privileges", "seccomp=unconfined"]),
        ({"security_opt": ["no-new-privileges:false"]}, [OURS, "no-new-privileges:false"]),
    ],
)
def test_administrators_options_replace_only_the_same_options(theirs: Any, sent: list[str]) -> None:
    assert merged(HARDENING, theirs)["security_opt"] == sent
