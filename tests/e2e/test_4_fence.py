"""What a user's server can reach on the network, and what it cannot."""

from __future__ import annotations

from pathlib import Path

from e2e.client import User
from e2e.deployment import Deployment, docker
from e2e.probe import assert_fenced


def test_server_reaches_hub_and_proxy_only(deployment: Deployment, alice: User, bob: User) -> None:
    assert_fenced(deployment, alice.server(), f"{deployment.name}-user-bob")
    assert_fenced(deployment, bob.server(), f"{deployment.name}-user-alice")


def test_servers_of_one_user_cannot_reach_each_other(deployment: Deployment, alice: User) -> None:
    named = alice.server("apart")
    named.start("base")
    assert_fenced(deployment, named, f"{deployment.name}-user-alice")
    named.stop()


def test_server_reaches_the_outside(alice: User) -> None:
    with alice.server().terminal() as terminal:
        shown = terminal.run("pip download --no-cache-dir --no-deps --dest /tmp/outside cowsay")
    assert "Successfully downloaded cowsay" in shown


def test_fence_holds_after_the_hub_is_replaced(deployment: Deployment, alice: User, bob: User) -> None:
    """The run skips the proof in this case, which saves three seconds; this test proves the fence instead."""
    proof = Path(f"/run/{deployment.name}-fence-proof")
    proved = proof.stat().st_mtime_ns
    docker("rm", "--force", deployment.hub)
    deployment.run().succeeded()
    assert proof.stat().st_mtime_ns == proved
    assert_fenced(deployment, alice.server(), f"{deployment.name}-user-bob")
    # A server that the new Hub starts.
    named = bob.server("later")
    named.start("base")
    assert_fenced(deployment, named, f"{deployment.name}-user-alice")
    named.stop()
