"""Who may see the page: the rules, and the real server that asks them."""

from __future__ import annotations

import http.client
from http import HTTPStatus

import pytest

from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.view.gate import COOKIE, Gate, is_this_machine

LOCAL, SECRET = Gate(None, local=True), Gate('s3cret', local=False)


@pytest.mark.parametrize('host', ['localhost:8080', '127.0.0.1:8080', '[::1]:8080', 'LOCALHOST'])
def test_this_machine_sees_its_own_page(host):
    assert LOCAL.refusal('/', host, None, None) is None
    assert LOCAL.refusal('/', host, f'http://{host}', None) is None


@pytest.mark.parametrize('host', ['evil.example:8080', '192.168.1.4:8080', '', None, '[::1', 'localhost.evil.example'])
def test_a_name_that_only_points_here_is_refused(host):
    assert LOCAL.refusal('/', host, None, None).status == HTTPStatus.FORBIDDEN


def test_another_page_in_the_same_browser_is_refused():
    assert LOCAL.refusal('/', 'localhost:8080', 'http://evil.example', None).status == HTTPStatus.FORBIDDEN
    assert LOCAL.refusal('/', 'localhost:8080', 'http://localhost:9090', None).status == HTTPStatus.FORBIDDEN
    assert LOCAL.refusal('/', 'localhost:8080', 'null', None).status == HTTPStatus.FORBIDDEN


def test_elsewhere_the_token_opens_once_in_the_address_and_then_as_a_cookie():
    assert SECRET.refusal('/', 'robot:8080', None, None).status == HTTPStatus.UNAUTHORIZED
    for wrong in ('/?token=', '/?token=s3cre', '/?token=s3cret1', '/?other=s3cret'):
        assert SECRET.refusal(wrong, 'robot:8080', None, None).status == HTTPStatus.UNAUTHORIZED
    assert SECRET.refusal('/?token=s3cret', 'robot:8080', None, None) is None
    assert SECRET.refusal('/', 'robot:8080', 'http://robot:8080', f'a=b; {COOKIE}=s3cret') is None
    for cookies in (f'{COOKIE}=', f'{COOKIE}=no', 'other=s3cret', '\x00;==', f'{COOKIE}=ü'):
        assert SECRET.refusal('/', 'robot:8080', None, cookies).status == HTTPStatus.UNAUTHORIZED


def test_names_of_this_machine():
    assert is_this_machine('localhost') and is_this_machine('127.3.2.1') and is_this_machine('::1')
    assert not is_this_machine('0.0.0.0') and not is_this_machine('robot')


@pytest.fixture(scope='module')
def served():
    """A real server that asks for a token, as where --host is not this machine."""
    pytest.importorskip('viser', reason="needs the extra 'view'")
    from cliff_ros.view.server import Server

    server = Server(port=0, token='s3cret')
    yield server
    server.close()


def _get(server, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=10)
    connection.request('GET', path, headers=headers)
    return connection.getresponse()


def test_the_server_asks_and_remembers(served):
    assert _get(served, '/').status == HTTPStatus.UNAUTHORIZED
    assert _get(served, '/', Host='evil.example').status == HTTPStatus.FORBIDDEN
    opened = _get(served, '/?token=s3cret')
    assert opened.status == HTTPStatus.SEE_OTHER and opened.getheader('Location') == '/'
    cookie = opened.getheader('Set-Cookie')
    assert 'HttpOnly' in cookie and 'SameSite=Strict' in cookie
    page = _get(served, '/', Cookie=cookie.partition(';')[0])
    assert page.status == HTTPStatus.OK and b'<html' in page.read().lower()
    assert served.url.endswith('/?token=s3cret')


def test_nobody_gets_messages_without_the_token(served):
    connect = pytest.importorskip('websockets.sync.client').connect
    from websockets.exceptions import InvalidStatus

    address, protocols = f'ws://127.0.0.1:{served.port}', [f'viser-v{pytest.importorskip("viser").__version__}']
    for path, headers in (('/', {}), ('/?token=s3cret', {'Origin': 'http://evil.example'})):
        with pytest.raises(InvalidStatus), connect(address + path, subprotocols=protocols, additional_headers=headers):
            pass
    with connect(address, subprotocols=protocols, additional_headers={'Cookie': f'{COOKIE}=s3cret'}) as socket:
        assert len(socket.recv(timeout=10)) > 100


def test_visitors_cannot_open_a_tunnel(served):
    assert served.viser.request_share_url() is None


def test_an_address_that_is_not_here_is_an_error():
    pytest.importorskip('viser', reason="needs the extra 'view'")
    from cliff_ros.view.server import Server

    with pytest.raises(InputError, match='Nothing can listen'):
        Server(host='192.0.2.1')
    with pytest.raises(InputError, match='no port'):
        Server(port=70000)


def test_a_made_token_where_the_host_is_not_this_machine():
    pytest.importorskip('viser', reason="needs the extra 'view'")
    from cliff_ros.view.server import Server

    server = Server(host='0.0.0.0', port=0)
    try:
        assert server.token and len(server.token) >= 20
        assert _get(server, '/').status == HTTPStatus.UNAUTHORIZED
    finally:
        server.close()


def test_without_viser_the_extra_is_named(monkeypatch):
    import sys

    from cliff_ros.view.server import Server

    monkeypatch.setitem(sys.modules, 'viser', None)
    with pytest.raises(MissingExtra, match=r'cliff_ros\[view\]'):
        Server()
