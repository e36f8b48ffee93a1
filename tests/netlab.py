"""Machines of their own, as far as a network can tell: network namespaces, each with an address and a capped link.

Needs root, iproute2 and a kernel that lets them be made; `can_make()` says so.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Machine:
    """A namespace: its name, its address, and this end of its link."""

    name: str
    address: str
    link: str

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The same command, run on it."""
        return ["ip", "netns", "exec", self.name, *argv]

    def cut(self) -> None:
        """Pull the cable."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """Put it in again."""
        _ip("link", "set", self.link, "up")


@dataclass(frozen=True)
class Net:
    """Some machines, and the address at which they all reach this one."""

    hub: str
    machines: tuple[Machine, ...]


@cache
def can_make() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
        return False
    try:
        with net([1_000_000]):
            return True
    except subprocess.CalledProcessError:
        return False


@contextmanager
def net(rates: Sequence[int]) -> Iterator[Net]:
    """A machine (of at most 60) for each rate: bytes a second and direction of its link, 0 for no limit."""
    place = f"10.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}"
    hub = f"{place}.254"
    with ExitStack() as stack:
        _ip("address", "add", f"{hub}/32", "dev", "lo")
        stack.callback(_ip, "address", "del", f"{hub}/32", "dev", "lo")
        yield Net(hub, tuple(_machine(stack, place, 4 * n, rate) for n, rate in enumerate(rates, start=1)))


def _machine(stack: ExitStack, place: str, first: int, rate: int) -> Machine:
    name = f"rm{secrets.token_hex(3)}"
    near, far = f"{place}.{first + 1}", f"{name}b"
    made = Machine(name, f"{place}.{first + 2}", f"{name}a")
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    _ip("link", "add", made.link, "type", "veth", "peer", "name", far)
    _ip("link", "set", far, "netns", name)
    _ip("address", "add", f"{near}/30", "dev", made.link)
    _ip("link", "set", made.link, "up")
    _ip("-n", name, "address", "add", f"{made.address}/30", "dev", far)
    _ip("-n", name, "link", "set", far, "up")
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "route", "add", "default", "via", near)
    if rate:
        _shape(["tc"], made.link, rate)
        _shape(["ip", "netns", "exec", name, "tc"], far, rate)
    return made


def _shape(tc: Sequence[str], link: str, rate: int) -> None:
    """Let so many bytes a second leave by a link (tc-tbf: `burst` bytes at once, the rest waits in line)."""
    bucket = ("tbf", "rate", f"{rate * 8}bit", "burst", "65536", "latency", "400ms")
    subprocess.run([*tc, "qdisc", "add", "dev", link, "root", *bucket], check=True, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
