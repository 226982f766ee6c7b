"""A machine becomes a site although every run but the last is cut off; the one after that changes nothing."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from sites import PROJECT, Site

APT = "TASK [docker : packages | Install "
DPKG_WORKS = "[ -e /var/lib/dpkg/updates/0005 ] && pgrep -x dpkg"
# What dpkg notes between the last file of a package and its end: a moment too short to be met but by chance.
TEAR = """
cd /var/lib/dpkg/updates
record=$(grep --files-with-matches '^Status: install ok unpacked' [0-9]* | head -1)
last=$(ls | grep '^[0-9]' | tail -1)
sed 's/^Status: install ok/Status: install reinstreq/' "$record" >"$(printf %04d $((10#$last + 1)))"
sed -n 's/^Package: //p' "$record"
"""
HUB_JSON = "/srv/jupyterhub/hub/hub.json"
SECRETS = ("hub/secrets/cookie_secret", "hub/secrets/crypt_key", "proxy/secrets/token")
WAITS = "waiting for another run's builds on this machine"


def within(host: Any, seconds: int, condition: str) -> None:
    """Wait until a condition of the shell holds on the machine."""
    host.check_output("timeout %s sh -c %s", str(seconds), f"until {condition}; do sleep 0.05; done")


def load_images(site: Site) -> None:
    """Give the machine those that were built on this host; they are taken for the same."""
    command = ["ansible-playbook", "--inventory", site.inventory, "--limit", site.machine]
    subprocess.run([*command, PROJECT / "molecule/shared/images.yml"], cwd=PROJECT, check=True)


def secrets(host: Any) -> list[str]:
    return [host.check_output("cat /srv/jupyterhub/%s", name) for name in SECRETS]


def hub(host: Any) -> str:
    """The Hub's container, which is another one after it was replaced."""
    found: str = host.check_output("docker container inspect --format '{{.Id}}' jupyterhub-hub")
    return found


def test_docker_while_the_network_and_the_power_fail(site: Site, host: Any) -> None:
    """The connection is lost in the middle of apt's work; then dpkg, too, is ended."""
    with site.at(APT) as run:
        within(host, 120, DPKG_WORKS)
        host.check_output("pkill -f '^sshd(-session)?: (root|deploy)'")
        host.check_output("pkill -9 -x 'apt-get|dpkg'")
        assert run.stdout
        said = run.stdout.read()
        assert run.wait() == 4
    assert "UNREACHABLE" in said
    assert "Traceback" not in said
    assert "you must manually run 'dpkg --configure -a'" in host.run("apt-get check").stderr
    torn = host.check_output("bash -ec %s", TEAR)
    assert "reinstreq" in host.check_output("dpkg-query --show --showformat '${db:Status-Eflag}' %s", torn)


def test_docker_killed_while_apt_installs(site: Site, host: Any) -> None:
    with site.at(APT):
        # What dpkg was interrupted in is finished, and it is at work again.
        within(host, 120, DPKG_WORKS)


def test_images_killed_while_they_are_built(site: Site, host: Any) -> None:
    """The build goes on without the run; the next one waits for it."""
    with site.at("TASK [images : build | Build"):
        within(host, 60, "[ -e /srv/jupyterhub/builds/progress ]")
        host.check_output("kill -STOP $(pgrep -f '[A]nsiballZ_image_builds')")
    load_images(site)
    # Nothing of the runs that were killed is left where Ansible runs.
    assert not subprocess.run(
        ["pgrep", "-f", f"ansible-playbook .*--limit {site.machine} "], capture_output=True
    ).stdout
    with site.at(WAITS, before="network : Make the networks") as run:
        host.check_output("kill -CONT $(pgrep -f '[A]nsiballZ_image_builds')")
        assert run.stdout
        for line in run.stdout:
            if "TASK [network : Make the networks]" in line:
                break
        else:
            pytest.fail("it ended before")


def test_proxy_and_hub_killed_between_their_parts(site: Site, host: Any) -> None:
    settings = {"hub_server_memory_mb": 1500}
    # Where the test before this one is left out, there is no engine yet.
    site.kill_before("images : List the engine's images", **settings)
    load_images(site)
    site.kill_before("proxy : container | Run the proxy", **settings)
    site.kill_before("hub : Write the Hub's settings", **settings)
    made = secrets(host)
    site.kill_before("hub : container | Wait until the Hub is healthy", **settings)
    old = hub(host)
    # An edit that comes as far as the file.
    site.kill_before("hub : container | Run the Hub")
    assert '"hub_server_memory_mb": 1500' not in host.file(HUB_JSON).content_string, "the new settings are written"
    assert hub(host) == old, "and the Hub has not seen them"
    assert site.run().succeeded().changes == ["hub : container | Run the Hub"]
    assert hub(host) != old
    assert secrets(host) == made, "a secret that a database may know is made once"
    assert site.run().succeeded().changes == []
