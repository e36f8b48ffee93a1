"""Where the proxies of the environment do not hold, as Go (and so skopeo and oc) has it.

Python does not do this by itself: never for this machine, and not for addresses within a network of NO_PROXY such as
10.0.0.0/8.
"""

from contextlib import suppress
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def is_this_machine(host: str) -> bool:
    """Whether a host is reached by the loopback interface: Go uses no proxy for it."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def goes_direct(host: str) -> bool:
    """Whether a host is reached without a proxy although Python would use one."""
    if is_this_machine(host):
        return True
    with suppress(ValueError):
        address = ip_address(host)
        networks = [entry.strip() for entry in getproxies().get("no", "").split(",") if "/" in entry]
        return any(address in ip_network(network, strict=False) for network in networks)
    return False


def proxy_url(scheme: str, host: str) -> str:
    """The proxy that a host is reached through, as the environment names it, its login included; empty for none."""
    if goes_direct(host) or proxy_bypass(host):
        return ""
    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all") or ""
    return found if "://" in found or not found else f"http://{found}"


def proxy_of(scheme: str, host: str) -> str:
    """The proxy that a host is reached through, as host:port, without its login; empty for none."""
    return urlsplit(proxy_url(scheme, host)).netloc.rpartition("@")[2]
