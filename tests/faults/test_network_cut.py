"""The network between a node and the head is cut, and comes back.

The far node stands in a network of its own. Its replicas count as dead and others come up on the
near one; when the network is back, nobody answers twice.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import staged
from tests.faults.report import Row
from tests.faults.scene import Scene
from tests.waiting import wait_until

FAR, CABLE = "relay-far", ("relay-near0", "relay-far0")
NEAR_ADDRESS, FAR_ADDRESS = "10.201.77.1", "10.201.77.2"
HEAD = f"{NEAR_ADDRESS}:6399"
CUT_SECONDS = 40.0


def ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True).returncode == 0


@contextlib.contextmanager
def far_network() -> Iterator[None]:
    """Only root may make one."""
    near, far = CABLE
    made = ip("netns", "add", FAR) and ip("link", "add", near, "type", "veth", "peer", far)
    if not made:
        ip("netns", "del", FAR)
        pytest.skip("no network can be made here")
    try:
        ip("link", "set", far, "netns", FAR)
        ip("addr", "add", f"{NEAR_ADDRESS}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", FAR, "addr", "add", f"{FAR_ADDRESS}/30", "dev", far)
        ip("-n", FAR, "link", "set", far, "up")
        ip("-n", FAR, "link", "set", "lo", "up")
        yield
    finally:
        ip("link", "del", near)
        ip("netns", "del", FAR)


@contextlib.contextmanager
def node(*words: str, address: str, cpus: int, place: tuple[str, ...] = ()) -> Iterator[None]:
    environment = {**os.environ, **HEALTH}
    environment.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    command = [*place, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words]
    options = [f"--node-ip-address={address}", f"--num-cpus={cpus}"]
    with subprocess.Popen([*command, *options], env=environment) as process:
        try:
            yield
        finally:
            process.terminate()


# A node that is silent is missed after some seconds.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}


def test_network_cut(rows: list[Row], tmp_path: Path) -> None:
    import tests.cluster  # noqa: F401  (the cluster's key)

    joined = {"RAY_ADDRESS": HEAD, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": ""}
    far = ("ip", "netns", "exec", FAR)
    with (
        far_network(),
        node("--head", "--port=6399", "--include-dashboard=false", address=NEAR_ADDRESS, cpus=0),
        node(f"--address={HEAD}", address=FAR_ADDRESS, cpus=3, place=far),
        staged(tmp_path / "serve.log", **joined) as stack,
        node(f"--address={HEAD}", address=NEAR_ADDRESS, cpus=3),
    ):
        scene = Scene(stack, rows)
        assert wait_until(lambda: in_far_network("ServeReplica:unet-"), 10)

        def strike() -> None:
            ip("link", "set", CABLE[0], "down")

        def mend() -> None:
            ip("link", "set", CABLE[0], "up")

        scene.suffer("the network to the node with all stages cut", strike, refuses=True)
        time.sleep(CUT_SECONDS)
        scene.suffer("the network back", mend)


def in_far_network(title: str) -> bool:
    pids = subprocess.run(["ip", "netns", "pids", FAR], capture_output=True, text=True).stdout
    titles = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids.split()]
    return any(title in one for one in titles)
