"""The script of the fence, with stand-ins for nft and the machine's files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from project import ROLES

# The kernel's tables are files. Without support for counting, all of the input is refused, as by nft.
NFT = """#!/bin/sh
case "$*" in
  "--file -" | "--check --file -")
    text=$(cat)
    [ ! -e no-count ] || case $text in *"ct count"*) echo "No such file or directory" >&2; exit 1 ;; esac
    [ ! -e broken ] || { echo "Operation not permitted" >&2; exit 1; }
    [ "$1" != --check ] || exit 0
    family=$(echo "$text" | sed -n '1s/^table \\([a-z]*\\) .*/\\1/p')
    echo "$text" | tail -n +3 > "table.$family" ;;
  *"list table inet jh_fence") cat table.inet 2>/dev/null ;;
  "delete table bridge jh_fence") rm table.bridge 2>/dev/null ;;
  *) echo "unexpected: nft $*" >&2; exit 1 ;;
esac
"""
SETTINGS = """bridge=br-jh
hub=10.213.0.2
name=jh
proxy=10.213.0.3
subnet=10.213.0.0/20
table=jh_fence
"""


class Machine:
    """A machine, represented by a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "run", "etc/docker", "bridge"):
            (folder / name).mkdir(parents=True)
        self.write("bin/nft", NFT).chmod(0o755)
        self.write("bin/modprobe", "#!/bin/sh\n").chmod(0o755)
        self.write("bin/iptables", "#!/bin/sh\n[ ! -e flushed ]\n").chmod(0o755)
        self.write("etc/resolv.conf", "nameserver 192.0.2.53\n")
        text = (ROLES / "network/files/fence").read_text()
        for path, name in (
            ("/proc/sys/net/bridge", "bridge"),
            ("/run/", "run/"),
            ("/etc/", "etc/"),
            ("/host/", "host/"),
        ):
            text = text.replace(path, f"{folder}/{name}")
        text = text.replace("PATH=/usr/sbin", f"PATH={folder}/bin:/usr/sbin").replace("interval_s=5", "interval_s=0.2")
        # Not executable, as on a file system that is mounted noexec.
        self.script = self.write("fence", text)
        self.write("fence.conf", SETTINGS)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def __call__(self, verb: str) -> str:
        done = subprocess.run(
            ["/bin/sh", str(self.script), verb],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return (done.stdout + done.stderr).strip()

    @property
    def table(self) -> str:
        return (self.folder / "table.inet").read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_loaded_rules_are_not_reloaded(machine: Machine) -> None:
    assert machine("check") == "not in force"
    assert machine("keep") == "loaded"
    assert machine("keep") == "in force"
    assert machine("check") == "in force"
    for family in ("iptables", "ip6tables"):
        assert (machine.folder / f"bridge/bridge-nf-call-{family}").read_text() == "1\n"


def test_how_bridges_were_filtered_is_recorded_once(machine: Machine) -> None:
    """For `make uninstall`; a family that the kernel does not filter yet counts as off."""
    machine.write("bridge/bridge-nf-call-iptables", "1\n")
    machine("keep")
    machine.write("table.inet", "")
    machine("keep")
    recorded = (machine.folder / "run/jupyterhub-ansible-bridges").read_text()
    assert recorded == "bridge-nf-call-iptables 1\nbridge-nf-call-ip6tables 0\n"


@pytest.mark.parametrize("gone", ["table.inet", "bridge/bridge-nf-call-iptables"])
def test_missing_rules_are_reloaded_and_proved_again(machine: Machine, gone: str) -> None:
    machine("keep")
    before = machine("rules").splitlines()
    proof = machine.write("run/jh-fence-proof", "proved\n")
    assert machine("keep") == "in force"
    assert proof.exists()
    (machine.folder / gone).unlink()
    assert machine("rules") == "not in force"
    assert machine("keep") == "loaded"
    assert not proof.exists()
    after = machine("rules").splitlines()
    assert before[0] == after[0] == "in force"
    assert before[1] != after[1], "who proves it can tell that it was loaded again"


def test_published_ports_and_metadata_are_closed(machine: Machine) -> None:
    machine("keep")
    assert "ct status dnat drop" in machine.table
    for address in ("169.254.0.0/16", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"):
        assert address in machine.table


@pytest.mark.parametrize("verb", ["keep", "shut"])
def test_connections_made_while_rules_were_missing_are_cut(machine: Machine, verb: str) -> None:
    """Except for replies to Hub, proxy and the machine."""
    machine(verb)
    forward, _, incoming = machine.table.partition("chain input")
    for chain, answers in ((forward, "ip daddr { 10.213.0.2, 10.213.0.3 }"), (incoming, "ct direction reply")):
        [rule] = [line.strip() for line in chain.splitlines() if "established" in line]
        assert rule == f"{answers} ct state established,related accept"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"etc/resolv.conf": "nameserver 169.254.169.254\n"}, "169.254.169.254"),
        ({"etc/resolv.conf": "search x\nnameserver\t168.63.129.16 # Azure\n"}, "168.63.129.16"),
        # Docker itself queries these, from outside the container.
        ({"etc/resolv.conf": "nameserver 127.0.0.1\nnameserver ::1\n"}, ""),
        (
            {
                "etc/resolv.conf": "nameserver 127.0.0.53\n",
                "run/systemd/resolve/resolv.conf": "nameserver 169.254.169.254\nnameserver 10.0.0.1\n",
            },
            "10.0.0.1,169.254.169.254",
        ),
        (
            {
                "etc/resolv.conf": "nameserver 192.0.2.53\n",
                "etc/docker/daemon.json": '{"dns": [\n "172.17.0.1",\n "9.9.9.9"],\n "bip": "1.2.3.4/24"}',
            },
            "172.17.0.1,192.0.2.53,9.9.9.9",
        ),
        # A mistake in that file must not keep the fence from being loaded.
        ({"etc/resolv.conf": "nameserver 999.1.1.1\nnameserver } accept\nnameserver dns.example\n"}, ""),
        ({"etc/resolv.conf": ""}, ""),
    ],
)
def test_the_machine_s_resolvers_are_open(machine: Machine, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        machine.write(name, text)
    assert machine("keep") == "loaded"
    rule = f"meta l4proto {{ tcp, udp }} th dport 53 ct original ip daddr {{ {expected} }} accept"
    assert machine.table.count(rule) == (2 if expected else 0)
    assert machine.table.count("dport 53") == (2 if expected else 0)
    # Before the rule that closes link-local addresses.
    assert not expected or machine.table.index(rule) < machine.table.index("169.254.0.0/16")


def test_changed_settings_are_applied(machine: Machine) -> None:
    machine("keep")
    machine.write("fence.conf", SETTINGS.replace("10.213.", "10.214."))
    assert machine("check") == "not in force"
    assert machine("keep") == "loaded"
    assert "10.214.0.2" in machine.table
    assert "10.213." not in machine.table


def test_changed_resolvers_are_applied(machine: Machine) -> None:
    machine("keep")
    machine.write("etc/resolv.conf", "nameserver 169.254.169.254\n")
    assert machine("check") == "not in force"
    assert machine("keep") == "loaded"
    assert "{ 169.254.169.254 }" in machine.table


def test_connections_of_a_server_are_limited(machine: Machine) -> None:
    machine("keep")
    assert machine.table.count("ct state new add @connections { ip saddr ct count over 4000 } drop") == 2
    assert machine.table.count("ct state new add @doors { ip saddr ct count over 250 } drop") == 1
    # Hub and proxy come before that.
    before = machine.table[: machine.table.index("add @doors")]
    assert "ip saddr { 10.213.0.2, 10.213.0.3 } accept" in before
    assert machine("lacks") == ""


def test_without_support_for_counting_the_other_rules_are_loaded(machine: Machine) -> None:
    machine.write("no-count", "")
    assert machine("keep") == "loaded"
    assert "ct count" not in machine.table
    assert "ct status dnat drop" in machine.table
    assert machine("keep") == "in force"
    assert "cannot count a server's connections" in machine("lacks")
    # Only temporarily.
    (machine.folder / "no-count").unlink()
    assert machine("keep") == "loaded"
    assert "ct count" in machine.table
    assert machine("lacks") == ""
    assert machine("keep") == "in force"


def test_rules_that_cannot_be_loaded_are_reported(machine: Machine) -> None:
    machine.write("broken", "")
    assert machine("keep") == "Operation not permitted"
    assert machine("check") == "not in force"


def test_a_hanging_call_does_not_block_others_forever(machine: Machine) -> None:
    machine.script.write_text(machine.script.read_text().replace("lock_timeout_s=50", "lock_timeout_s=1"))
    with subprocess.Popen(
        ["flock", str(machine.folder / "run/jh-fence.lock"), "sh", "-c", "echo; read end"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout
        other.stdout.readline()
        assert machine("shut").startswith(f"another call of {machine.script} has been running for 1 s")
        assert machine("check") == "not in force"
        other.communicate(b"\n")
    assert machine("shut") == "loaded"


def test_it_stays_shut_until_it_is_opened(machine: Machine) -> None:
    machine("keep")
    assert machine("shut") == "loaded"
    for table in (machine.table, (machine.folder / "table.bridge").read_text()):
        assert "10.213.0.2, 10.213.0.3" in table
    assert 'policy accept;\n    iifname != "br-jh" accept' not in machine.table.partition("chain input")[0]
    (machine.folder / "table.inet").unlink()
    assert machine("keep") == "loaded"
    assert (machine.folder / "table.bridge").exists()
    assert machine("lacks") == ""
    assert machine("open") == "loaded"
    assert not (machine.folder / "table.bridge").exists()
    assert "ct status dnat drop" in machine.table
    assert machine("open") == "in force"


def test_watch_repairs_and_reports_it(machine: Machine) -> None:
    process = subprocess.Popen(
        ["/bin/sh", str(machine.script), "watch"],
        cwd=machine.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        assert process.stdout.readline() == "The fence is in force\n"
        (machine.folder / "table.inet").unlink()
        assert process.stdout.readline().startswith("Another program had removed or changed the fence"), (
            "and nothing was said in between"
        )
        assert machine("check") == "in force"
        machine.write("flushed", "")
        (machine.folder / "table.inet").unlink()
        assert process.stdout.readline().startswith("Another program")
        assert process.stdout.readline().startswith("Docker's own rules are gone, too")
        machine.write("etc/resolv.conf", "nameserver 169.254.169.254\n")
        assert "resolvers have changed" in process.stdout.readline()
        assert "{ 169.254.169.254 }" in machine.table
        machine.write("broken", "")
        (machine.folder / "table.inet").unlink()
        assert process.stdout.readline() == "The fence cannot be loaded: Operation not permitted\n"
        (machine.folder / "broken").unlink()
        # The current version of the script is run.
        machine.script.write_text(machine.script.read_text().replace("Another program", "Somebody"))
        while (line := process.stdout.readline()).startswith("The fence cannot"):
            pass
        (machine.folder / "table.inet").unlink()
        line = process.stdout.readline()
        assert line.startswith(("Somebody had removed", "Docker's own")), line
    finally:
        process.terminate()
    assert process.wait(timeout=5) != 0
