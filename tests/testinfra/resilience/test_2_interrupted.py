"""Every run but the last is interrupted; the last one completes the site, and the run after it changes nothing."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from sites import PROJECT, Site

APT = "TASK [docker : packages | Install "
DPKG_WORKS = "[ -e /var/lib/dpkg/updates/0005 ] && pgrep -x dpkg"
# Recreates what dpkg records between a package's last file and its end: a moment too short to hit on purpose.
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
    """Wait until a shell condition holds on the machine."""
    host.check_output("timeout %s sh -c %s", str(seconds), f"until {condition}; do sleep 0.05; done")


def load_images(site: Site) -> None:
    """Load the images that were built on this host: they count as the machine's own builds."""
    command = ["ansible-playbook", "--inventory", site.inventory, "--limit", site.machine]
    subprocess.run([*command, PROJECT / "molecule/shared/images.yml"], cwd=PROJECT, check=True)


def secrets(host: Any) -> list[str]:
    return [host.check_output("cat /srv/jupyterhub/%s", name) for name in SECRETS]


def hub(host: Any) -> str:
    """Return the id of the Hub's container, which changes when it is replaced."""
    found: str = host.check_output("docker container inspect --format '{{.Id}}' jupyterhub-hub")
    return found


def test_run_reports_a_connection_lost_while_apt_installs(site: Site, host: Any) -> None:
    """Then apt and dpkg are killed as well, as in a power failure."""
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


def test_run_killed_while_apt_installs(site: Site, host: Any) -> None:
    with site.at(APT):
        # The interrupted work of dpkg was finished, and dpkg runs again.
        within(host, 120, DPKG_WORKS)


def test_run_killed_while_images_are_built(site: Site, host: Any) -> None:
    """The build continues without the run; the next run waits for it."""
    with site.at("TASK [images : build | Build"):
        within(host, 60, "[ -e /srv/jupyterhub/builds/progress ]")
        host.check_output("kill -STOP $(pgrep -f '[A]nsiballZ_image_builds')")
    load_images(site)
    # No process of the killed runs is left on this host.
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
            pytest.fail("the run ended before the next task")


def test_runs_killed_between_tasks_of_proxy_and_hub(site: Site, host: Any) -> None:
    settings = {"hub_server_memory_mb": 1500}
    # Without the test before this one, there is no engine yet.
    site.kill_before("images : List the engine's images", **settings)
    load_images(site)
    site.kill_before("proxy : container | Run the proxy", **settings)
    site.kill_before("hub : Write the Hub's settings", **settings)
    made = secrets(host)
    site.kill_before("hub : container | Wait until the Hub is healthy", **settings)
    old = hub(host)
    # A changed setting reaches the file, but not the Hub.
    site.kill_before("hub : container | Run the Hub")
    assert '"hub_server_memory_mb": 1500' not in host.file(HUB_JSON).content_string, "the new settings are written"
    assert hub(host) == old, "the Hub still runs with the old ones"
    assert site.run().succeeded().changes == ["hub : container | Run the Hub"]
    assert hub(host) != old
    assert secrets(host) == made, "secrets are kept: a database may depend on them"
    assert site.run().succeeded().changes == []
