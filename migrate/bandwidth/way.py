"""How the proxy is reached; what everybody may load who only may have to go through it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True)
class Way:
    """The way through the proxy.

    Attributes:
        url: its address, with the login that it asks for.
        longest_wait: seconds that an answer may be late at most, because what was sent before it waits here.
    """

    url: str = field(repr=False)
    longest_wait: float = 0.0

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """An environment whose programs go through this proxy to all hosts (Go's: but for localhost).

        Args:
            base: the rest of it; what it says of other proxies is left out.
        """
        kept = {name: value for name, value in base.items() if name.lower() not in _PROXY_VARIABLES}
        return kept | dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.url)
