"""A second host on this machine: a namespace whose cable is pulled or made slow at will."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.lines.line import free_number
from tests.support.programs import skip_unless_ci

CLONE_NEWNET = 0x40000000


UNBOUNDED = "64mb"
"""A queue before a slow line in which no packet is lost: losses would make the time of a test
depend on how they are repaired."""


def ip(*arguments: str) -> None:
    """Run the ``ip`` command."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def tc(*arguments: str) -> None:
    """Run the ``tc`` command, which is in the same package."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    subprocess.run(["tc", *arguments], check=True, capture_output=True, env={"PATH": path})


_NAME, _CABLE = "relay-test-", "rt"
"""Before the number of the process that has made them."""


def _remove_those_of_the_dead() -> None:
    """Hosts of test processes that were killed would have the addresses of new ones."""
    for link in Path("/sys/class/net").glob(f"{_CABLE}[0-9]*"):
        pid = link.name.removeprefix(_CABLE)
        if not Path(f"/proc/{pid}").exists():
            # Another test process may be doing the same.
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("link", "delete", link.name)
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "delete", f"{_NAME}{pid}")


class OtherHost:
    """The far end of a cable.

    Attributes:
        relay_host: the address of the near end.
    """

    def __init__(self, name: str, cable: str, relay_host: str) -> None:
        self._name = name
        self._cable = cable
        self.relay_host = relay_host

    def pull_the_cable(self) -> None:
        """From now on every packet is lost, both ways, and nobody is told."""
        ip("-n", self._name, "link", "set", "eth0", "down")

    def command(self, *command: str) -> tuple[str, ...]:
        """What runs ``command`` there."""
        return ("ip", "netns", "exec", self._name, *command)

    def slow_down(self, rate: int) -> None:
        """From now on ``rate`` bytes a second go from the relay to here; the other way is free."""
        shape = ("rate", f"{rate}bps", "burst", "16kb", "limit", UNBOUNDED)
        tc("qdisc", "replace", "dev", self._cable, "root", "tbf", *shape)

    def speed_up(self) -> None:
        """The cable is as fast as it was, also for what waits before it."""
        self.slow_down(1_000_000_000)

    async def connect(self, port: int) -> socket.socket:
        """A connection from there to the relay."""
        return await asyncio.to_thread(self._connect, port)

    def _connect(self, port: int) -> socket.socket:
        """In a thread of its own, since entering a namespace is for good."""
        made: list[socket.socket] = []

        def enter_and_connect() -> None:
            descriptor = os.open(f"/var/run/netns/{self._name}", os.O_RDONLY)
            if ctypes.CDLL(None).setns(descriptor, CLONE_NEWNET):
                return  # nothing made, which the caller sees
            os.close(descriptor)
            made.append(socket.create_connection((self.relay_host, port), timeout=10))

        thread = threading.Thread(target=enter_and_connect)
        thread.start()
        thread.join()
        made[0].setblocking(False)
        return made[0]


@contextlib.contextmanager
def other_host() -> Iterator[OtherHost | None]:
    """A host, or ``None`` where the system does not let us make one."""
    name, cable = f"{_NAME}{os.getpid()}", f"{_CABLE}{os.getpid()}"
    _remove_those_of_the_dead()
    with free_number() as number:
        # RFC 5737 keeps this network for documentation: it is never routed.
        near, far = f"198.51.100.{4 * number + 1}", f"198.51.100.{4 * number + 2}"
        try:
            if shutil.which("ip") is None or os.geteuid() != 0:
                yield None
                return
            try:
                ip("netns", "add", name)
                ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("addr", "add", f"{near}/30", "dev", cable)
                ip("link", "set", cable, "up")
                ip("-n", name, "addr", "add", f"{far}/30", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
            except subprocess.CalledProcessError:
                yield None
                return
            yield OtherHost(name, cable, near)
        finally:
            if Path(f"/sys/class/net/{cable}").exists():
                ip("link", "delete", cable)
            if Path(f"/var/run/netns/{name}").exists():
                ip("netns", "delete", name)


@contextlib.contextmanager
def needed_host() -> Iterator[OtherHost]:
    """A host; skips the test where there can be none. CI never skips."""
    with other_host() as host:
        if host is None:
            skip_unless_ci("no network namespace can be made here (needs root and iproute2)")
        yield host
