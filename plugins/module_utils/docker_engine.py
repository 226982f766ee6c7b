"""What is known of the machine's Docker engine, from the engine itself and from files.

Reads only, needs nothing but Python, and works without an engine.  Used by the modules `engine_info`, which documents
the results, and `host_report`.
"""

from __future__ import annotations

import fcntl
import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from .rules.mtu import of_default_route, of_settings

MARKER = Path("/etc/docker/managed-by-jupyterhub-ansible")
SETTINGS = Path("/etc/docker/daemon.json")
PID_FILE = Path("/run/docker.pid")
DPKG = Path("/var/lib/dpkg")
ENABLED_LINK = Path("/etc/systemd/system/multi-user.target.wants/docker.service")
REPOSITORY = (
    Path("/etc/apt/sources.list.d/jupyterhub-ansible-docker.sources"),
    Path("/etc/apt/keyrings/jupyterhub-ansible-docker.asc"),
)
# The last file wins, and a 99-inotify.conf is common.
SYSCTL, SYSCTL_FILE = Path("/proc/sys"), Path("/etc/sysctl.d/zz-jupyterhub-ansible.conf")
_INT, _LONG = 2**31 - 1, 2**63 - 1
# The kernel counts these per user id or for the whole machine, and all users' servers run as one user id: one server
# could use them up for all others.  Each unit costs memory that counts for the server's own memory limit (measured
# with 6.18), so that limit is enough, and these are raised to the highest possible value: nothing is ever lowered.
# Also in the Hub's package (jupyterhub_ansible.engine.kernel_limits), for Compose.
KERNEL_LIMITS = {
    "fs.aio-max-nr": _LONG,  # 85 bytes
    "fs.epoll.max_user_watches": _LONG,  # 214
    "fs.file-max": _LONG,  # 257
    "fs.inotify.max_user_instances": _INT,  # 1,009
    "fs.inotify.max_user_watches": _INT,  # about 1,100
    "fs.pipe-user-pages-soft": 0,  # unlimited, else a pipe of 64 KiB gets 8 KiB; a page
    "kernel.pty.max": 2**20,  # 3,671
}
SNAP = Path("/snap/docker/current")
PLUGIN_FOLDERS = (
    "/usr/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
)
# The PATH of an SSH session may lack the sbin folders.
SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
)
# How iptables and nft report that a chain or table does not exist.  Other errors, such as a held lock, say nothing
# about that.
NOT_THERE = ("No chain/target/match", "No such file or directory")
# Other drivers rotate logs themselves, or keep them elsewhere.
UNBOUNDED_LOG_DRIVER = "json-file"


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: int) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(socket_path: str, url: str, timeout_s: int) -> Any:
    """Return the engine's answer, or None without a useful one."""
    connection = SocketConnection(socket_path, timeout_s)
    try:
        connection.request("GET", url)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def describe(version: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Return what a running engine reports about itself."""
    options = [option.split(",")[0] for option in info.get("SecurityOptions") or []]
    root_dir = info.get("DockerRootDir", "")
    return {
        "version": version.get("Version", ""),
        "api_version": version.get("ApiVersion", ""),
        "rootless": "name=rootless" in options,
        "snap": root_dir.startswith("/var/snap/"),
        "userns_remap": "name=userns" in options,
        "podman": any("podman" in part.get("Name", "").lower() for part in version.get("Components") or []),
        "live_restore": bool(info.get("LiveRestoreEnabled")),
        "swarm_active": info.get("Swarm", {}).get("LocalNodeState", "inactive") not in ("", "inactive"),
        "root_dir": root_dir,
        "log_driver": info.get("LoggingDriver", ""),
    }


def shown(*command: str) -> tuple[str | None, str]:
    """Run a command that lists rules.

    Returns:
        What it lists, "" if the object does not exist, None if that is unknown; and the error.
    """
    program = shutil.which(command[0], path=SEARCH_PATH)
    if not program:
        return None, ""
    english = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=30, check=False, env=english
        )
    except subprocess.TimeoutExpired:
        return None, ""
    if done.returncode == 0:
        return done.stdout, ""
    return ("" if any(error in done.stderr for error in NOT_THERE) else None), done.stderr


def chain(table: str, name: str) -> str | None:
    """Return the rules of a chain, "" if it does not exist, None if that is unknown.

    Lists a single chain, since iptables refuses to list a table that contains rules made with nft.  It may give the
    same error for a chain that does not exist (1.8.9), so then nft is asked.
    """
    listed, error = shown("iptables", "--wait", "10", "--table", table, "--list-rules", name)
    if "incompatible" in error:
        listed, _ = shown("nft", "list", "chain", "ip", table, name)
    return listed


def has_rules(info: dict[str, Any]) -> bool | None:
    """Return whether the kernel has the engine's rules, which connect its networks to the outside and isolate them.

    They are lost when another program flushes all tables, as `systemctl restart nftables` does; the engine re-creates
    them when it starts.  None if unknown: only root can list them.
    """
    if not info or os.geteuid() != 0:
        return None
    if "nftables" in (info.get("FirewallBackend") or {}).get("Driver", ""):
        found, _ = shown("nft", "list", "table", "ip", "docker-bridges")
        return None if found is None else bool(found)
    nat, filters, forward = chain("nat", "DOCKER"), chain("filter", "DOCKER"), chain("filter", "FORWARD")
    if nat is None or filters is None or forward is None:
        return None
    return bool(nat and filters) and bool(re.search(r" (-j|jump) DOCKER", forward))


def is_without_rules(settings: dict[str, Any], pid_file: Path) -> bool:
    """Return whether the engine's settings or command line turn its firewall rules off."""
    try:
        command = Path("/proc", pid_file.read_text().strip(), "cmdline").read_bytes().split(b"\0")
    except OSError:
        command = []
    return settings.get("iptables") is False or b"--iptables=false" in command


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings in daemon.json; empty if it is missing or unreadable."""
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def is_log_rotated(driver: str, settings: dict[str, Any]) -> bool:
    """Return whether containers' logs are limited, so that they cannot fill the disk."""
    return bool(driver) and (driver != UNBOUNDED_LOG_DRIVER or "max-size" in settings.get("log-opts", {}))


def is_older(path: Path, than: Path) -> bool:
    """Return whether both exist and the first was written earlier."""
    try:
        return path.stat().st_mtime_ns < than.stat().st_mtime_ns
    except OSError:
        return False


def is_podman_command(path: str | None) -> bool:
    """Return whether the docker command is the wrapper that runs Podman."""
    if not path:
        return False
    with Path(path).open("rb") as file:
        start = file.read(1024)
    return start.startswith(b"#!") and b"podman" in start


def is_dpkg_at_work(folder: Path) -> bool:
    """Return whether a running dpkg holds the lock."""
    try:
        with (folder / "lock").open("a") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def is_dpkg_interrupted(folder: Path) -> bool:
    """Return whether a dpkg that no longer runs left a journal behind."""
    return (folder / "updates/0000").exists() and not is_dpkg_at_work(folder)


def torn_packages(folder: Path) -> list[str]:
    """Return the packages that an interrupted dpkg left in a state in which it can no longer configure them.

    Includes the journal, which overrides the status file.
    """
    if not folder.exists() or is_dpkg_at_work(folder):
        return []
    torn = {}
    for path in (folder / "status", *sorted((folder / "updates").glob("[0-9]*"))):
        try:
            stanzas = path.read_text(errors="replace").split("\n\n")
        except OSError:
            continue
        for stanza in stanzas:
            fields = dict(re.findall(r"^(Package|Architecture|Status): (.*)$", stanza, re.MULTILINE))
            name = fields.get("Package", "")
            architecture = fields.get("Architecture", "all")
            key = name if architecture == "all" else f"{name}:{architecture}"
            torn[key] = " reinstreq " in fields.get("Status", "")
    return sorted(name for name, is_torn in torn.items() if is_torn)


def kernel_limits(folder: Path = SYSCTL, kept: Path = SYSCTL_FILE) -> dict[str, Any]:
    """Return the limits to raise, and those that are still too low."""
    now = {}
    for name in KERNEL_LIMITS:
        try:
            now[name] = int((folder / name.replace(".", "/")).read_text())
        except (OSError, ValueError):
            continue  # This kernel does not have it.
    wanted = {name: f"{name} = {KERNEL_LIMITS[name]}" for name in now}
    low = [name for name in now if now[name] < KERNEL_LIMITS[name] or (now[name] and not KERNEL_LIMITS[name])]
    try:
        lines = kept.read_text().splitlines()
    except OSError:
        lines = []
    return {
        "kernel_limits": [*wanted.values()],
        "kernel_limits_low": [wanted[name] for name in low],
        "kernel_limits_kept": {*wanted.values()} <= {*lines},
    }


def find_files() -> dict[str, Any]:
    """Return what the machine's files show, whether or not an engine is running."""
    command = shutil.which("docker", path=SEARCH_PATH)
    podman_command = is_podman_command(command)
    rootless_sockets = list(Path("/run/user").glob("*/docker.sock"))
    return {
        "installed": bool(shutil.which("dockerd", path=SEARCH_PATH)) or SNAP.exists(),
        "ours": MARKER.exists(),
        "enabled": ENABLED_LINK.is_symlink() if Path("/run/systemd/system").is_dir() else None,
        "rootless": bool(rootless_sockets),
        "snap": SNAP.exists(),
        "podman": podman_command,
        "started_before_settings": is_older(PID_FILE, SETTINGS),
        "cli": bool(command) and not podman_command,
        "buildx": any(Path(folder, "docker-buildx").exists() for folder in PLUGIN_FOLDERS),
        "nft": bool(shutil.which("nft", path=SEARCH_PATH)),
        "dpkg_interrupted": is_dpkg_interrupted(DPKG),
        "dpkg_torn": torn_packages(DPKG),
        "repository": [str(path) for path in REPOSITORY if path.exists()],
        "python_requests": importlib.util.find_spec("requests") is not None,
    }


def gather(socket_path: str, timeout_s: int) -> dict[str, Any]:
    """Return everything that is known of the engine."""
    version = ask(socket_path, "/version", timeout_s)
    info = ask(socket_path, "/info", timeout_s) if version else None
    engine = describe(version or {}, info or {})
    engine["running"] = version is not None and info is not None
    engine["socket_gid"] = Path(socket_path).stat().st_gid if Path(socket_path).exists() else None
    engine["rules"] = has_rules(info or {})
    engine["rules_off"] = is_without_rules(read_settings(SETTINGS), PID_FILE)
    engine["mtu"], engine["route_mtu"] = of_settings(read_settings(SETTINGS)), of_default_route()
    engine["log_rotated"] = is_log_rotated(engine["log_driver"], read_settings(SETTINGS))
    files = find_files()
    # A running engine is more reliable than files, which may be left over from another one.
    for key in ("rootless", "snap", "podman"):
        files[key] = engine[key] if engine["running"] else files[key]
    files["installed"] = files["installed"] or engine["running"]
    return {**engine, **files, **kernel_limits()}
