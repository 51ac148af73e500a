"""viser's server behind our gate: it binds to localhost unless told otherwise, and opens no way out of it."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from threading import Lock
from typing import Any

from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.view.gate import COOKIE, Gate, is_this_machine

LOCALHOST, PORT = '127.0.0.1', 8080
_patching = Lock()


class Server:
    """A page without content yet: ``viser`` is the ViserServer whose scene and gui are filled.

    host: the address to listen on. port: the first one tried; if it is taken, one of the next. 0: any that is free.
    token: what visitors must bring; '' makes one where the host is not this machine, and asks for none where it is.

    Raises
    ------
    MissingExtra : viser is not installed. InputError : nothing can listen at that address.
    """

    def __init__(self, host: str = LOCALHOST, port: int = PORT, token: str = '') -> None:
        try:
            import viser
        except ImportError:
            raise MissingExtra('A view in the browser', 'view') from None
        local = is_this_machine(host)
        self.host = host
        self.token = token or (None if local else secrets.token_urlsafe(16))
        self.watchers = 0
        self._changed: list[Callable[[], None]] = []
        _check_address(host, port)

        class Private(viser.ViserServer):
            """Without viser's public tunnel, which any visitor could open."""

            def request_share_url(self, verbose: bool = True) -> None:
                return None

        with _guarded(Gate(self.token, local)) as guarded, redirect_stdout(io.StringIO()):
            self.viser = Private(host, port, verbose=False)
        if not guarded:
            self.close()
            raise MissingExtra('A view in the browser, with a viser whose server we can guard', 'view')
        self.port = self.viser.get_port()
        self.viser.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self.viser.on_client_connect(lambda client: self._count())
        self.viser.on_client_disconnect(lambda client: self._count())

    @property
    def url(self) -> str:
        """Where to look, with the token if there is one; on this machine where any address is listened on."""
        name = {'0.0.0.0': 'localhost', '::': 'localhost'}.get(self.host, self.host)
        name = f'[{name}]' if ':' in name else name
        return f'http://{name}:{self.port}' + (f'/?token={self.token}' if self.token else '')

    def on_watchers(self, callback: Callable[[], None]) -> None:
        """Have somebody told when browsers come and go (``watchers``); in the server's thread."""
        self._changed.append(callback)

    def _count(self) -> None:
        self.watchers = len(self.viser.get_clients())
        for callback in self._changed:
            callback()

    def close(self) -> None:
        """Stop listening, and let all visitors go."""
        with redirect_stdout(io.StringIO()):
            self.viser.stop()


@contextmanager
def _guarded(gate: Gate) -> Iterator[list[bool]]:
    """Servers that are started meanwhile ask the gate before anything else; the list is filled when one did start so.

    viser hands no hook of its server on. Without ours it is not run at all: `Server` looks at the list.
    """
    import websockets.asyncio.server as module

    guarded: list[bool] = []
    serve: Any = module.serve

    def serve_guarded(*args: Any, process_request: Any = None, **kwargs: Any) -> Any:
        guarded.append(True)
        return serve(*args, process_request=_asking(gate, process_request), **kwargs)

    with _patching:
        module.serve = serve_guarded  # type: ignore[assignment, misc]
        try:
            yield guarded
        finally:
            module.serve = serve  # type: ignore[misc]


def _asking(gate: Gate, then: Any) -> Callable[[Any, Any], Any]:
    from http import HTTPStatus

    def process(connection: Any, request: Any) -> Any:
        headers = request.headers
        # Of a header that is there twice the server and we could believe different ones.
        host, origin, cookies = (_only(headers.get_all(name)) for name in ('Host', 'Origin', 'Cookie'))
        refusal = gate.refusal(request.path, host, origin, cookies)
        if refusal is not None:
            return connection.respond(refusal.status, refusal.text)
        if gate.brought(request.path) and headers.get('Upgrade', '').lower() != 'websocket':
            # The token leaves the address bar, and with it the history and what links tell others.
            answer = connection.respond(HTTPStatus.SEE_OTHER, '')
            answer.headers['Location'] = '/'
            answer.headers['Set-Cookie'] = f'{COOKIE}={gate.token}; Path=/; HttpOnly; SameSite=Strict'
            return answer
        return then(connection, request) if then is not None else None

    return process


def _only(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else (None if not values else '')


def _check_address(host: str, port: int) -> None:
    """viser would try a thousand ports at an address that this machine does not have, and wait for ever."""
    import socket

    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            probe.bind((*found[0][4][:1], 0, *found[0][4][2:]))
    except OSError as error:
        raise InputError(
            f"Nothing can listen at '{host}' ({error.strerror}): give an address of this machine, or 0.0.0.0 for all."
        ) from error
    if not 0 <= port < 1 << 16:
        raise InputError(f'{port} is no port: give one of 1 to 65535, or 0 for any that is free.')
