"""Who may see the page: this machine's own user, or whoever brings the token.

The page shows people. On localhost any web page that is open in the same browser could ask for it, under our own name
(a name server that answers 127.0.0.1) or across origins (WebSockets are not held back by the same-origin policy): so
``Host`` and ``Origin`` are compared too.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

COOKIE = 'cliff_view'
_REMEDY = 'Open the address that cliff view printed, token included.\n'


@dataclass(frozen=True)
class Refusal:
    """What is answered instead of the page."""

    status: HTTPStatus
    text: str


@dataclass(frozen=True)
class Gate:
    """token: what visitors must bring, once in the address (``?token=``), then in a cookie; None: nothing.

    local: whether only names of this very machine are answered to.
    """

    token: str | None
    local: bool

    def refusal(self, path: str, host: str | None, origin: str | None, cookies: str | None) -> Refusal | None:
        """Why a request is not served; None: it is. Arguments: the request's target and headers, None if absent."""
        if self.local and not is_this_machine(_name(host or '')):
            return Refusal(HTTPStatus.FORBIDDEN, 'This page is for this machine: open it as localhost.\n')
        if origin is not None and urlsplit(origin).netloc.lower() != (host or '').lower():
            return Refusal(HTTPStatus.FORBIDDEN, 'Another page asked for this one.\n')
        if self.token is not None and not (self.brought(path) or self._remembered(cookies)):
            return Refusal(HTTPStatus.UNAUTHORIZED, _REMEDY)
        return None

    def brought(self, path: str) -> bool:
        """Whether the address holds the token."""
        try:
            given = parse_qs(urlsplit(path).query).get('token', [])
        except ValueError:
            return False
        return self.token is not None and any(hmac.compare_digest(one.encode(), self.token.encode()) for one in given)

    def _remembered(self, cookies: str | None) -> bool:
        try:
            found = SimpleCookie(cookies or '').get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), (self.token or '').encode())


def is_this_machine(name: str) -> bool:
    """Whether a host's name or address never leaves this machine."""
    if name.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a ``Host`` header, without its port."""
    try:
        return urlsplit(f'//{host}').hostname or ''
    except ValueError:
        return ''
