"""Which requests come from the server's own page or from a program, and not from a page of somebody else.

A page of another site may send requests to this machine, and may give its own name the address of this machine, so that
the browser takes the server for its own. The name in the Host header and the origin of the page show it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from keras_lnn.serving.limits import Refused

_LOCAL_NAMES = frozenset(["localhost"])
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Returns whether an address or a name is reached from this machine only."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_own_host(headers: Mapping[str, str], names: Collection[str]) -> None:
    """Checks that a request names this server.

    Args:
        headers: Of the request, by their names in small letters.
        names: Names of the server in small letters. Addresses are always allowed, because no other site can have one.
    """
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if name in _LOCAL_NAMES or name in names or _is_address(name):
        return
    raise Refused(
        421,
        "The Host header must name this server. Received: another name. Open the address that the server has printed,"
        " or start it with --allow-host NAME.",
    )


def require_own_origin(headers: Mapping[str, str]) -> None:
    """Checks that a request was not sent by a page of another site.

    Args:
        headers: Of the request, by their names in small letters.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    own = origin is None or origin.lower().partition("://")[2] == headers.get("host", "").lower() != ""
    if not own or site not in (None, "same-origin", "none"):
        raise Refused(
            403, "Requests must come from the page of this server or from a program. Received: another origin."
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
