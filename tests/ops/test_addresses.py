"""The addresses of a server: read, opened, refused with one line, and given back."""

import os
import socket
import stat
from pathlib import Path

import pytest

from ligand_async.ops import Address, ServerError, open_listener, open_listeners, take_handed_over


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:8000", Address("::1", 8000)),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
        ("unix:/run/a:b", Address(path="/run/a:b")),
        ("fd:3", Address(descriptor=3)),
    ],
)
def test_address_is_read_and_written(text: str, address: Address) -> None:
    """Each form is read, and written in the same way."""
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "host", ":80", "::1:80", "[::1]", "[a]:80", "host:65536", "host:-1", "host:x", "unix:", "fd:x", "fd:"]
)
def test_other_text_is_no_address(text: str) -> None:
    """A text that is none of the forms is refused with all of them."""
    with pytest.raises(ValueError, match=r"HOST:PORT, \[IPv6\]:PORT, unix:PATH or fd:NUMBER"):
        Address.parse(text)


def test_path_does_not_move_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path counts from the directory in which it was written."""
    monkeypatch.chdir(tmp_path)

    assert Address.parse("unix:x.sock").path == str(tmp_path / "x.sock")


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("--port", "--port or PORT"),
        ("--bind", "--bind"),
        ("--management-port", "--management-port"),
    ],
)
def test_port_in_use_is_one_line(source: str, remedy: str) -> None:
    """The address, what is wrong with it, and the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerError) as caught:
            open_listener(Address("127.0.0.1", port, source=source))

    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: it is in use; choose another port with {remedy}"


def test_foreign_address_is_one_line() -> None:
    """An address of another machine is refused with the remedy."""
    with pytest.raises(ServerError, match=r"^cannot listen on 192\.0\.2\.1:0: this machine does not have the address"):
        open_listener(Address("192.0.2.1", 0))


def test_unknown_host_is_one_line() -> None:
    """An unknown host name is refused in one line."""
    with pytest.raises(ServerError, match=r"^cannot listen on nowhere\.invalid:0: \S+"):
        open_listener(Address("nowhere.invalid", 0))


def test_both_families_have_one_port() -> None:
    """`[::]` takes IPv4 as well, unless another address is there for it."""
    [alone] = open_listeners([Address("::", 0)])
    assert alone.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
    port = alone.port
    alone.close()

    both = open_listeners([Address("0.0.0.0", port), Address("::", port)])  # noqa: S104  # any address is what is tested
    assert [one.port for one in both] == [port, port]
    for one in both:
        one.close()


def test_none_is_open_after_a_mistake(tmp_path: Path) -> None:
    """If one address cannot be had the others are given back."""
    path = tmp_path / "x.sock"
    with pytest.raises(ServerError):
        open_listeners([Address(path=str(path)), Address("192.0.2.1", 0)])

    assert not path.exists()


def test_socket_file_has_the_mode_and_goes(tmp_path: Path) -> None:
    """The file has its permissions before anybody can connect, and is removed at the end."""
    path = tmp_path / "x.sock"
    listener = open_listener(Address(path=str(path)), mode=0o600)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()
    assert not path.exists()


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket that a killed server has left is no hindrance."""
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    open_listener(Address(path=str(path))).close()


def test_socket_in_use_stays(tmp_path: Path) -> None:
    """A path on which another server listens is refused, and goes on to work."""
    address = Address(path=str(tmp_path / "x.sock"))
    first = open_listener(address)
    with pytest.raises(ServerError, match=r"x\.sock: another server listens there; stop it, or name another path$"):
        open_listener(address)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path or "")
    first.close()


def test_socket_of_another_server_is_not_removed(tmp_path: Path) -> None:
    """The file is removed only if it is still that of this server, although the other's has the same name."""
    path = tmp_path / "x.sock"
    first = open_listener(Address(path=str(path)))
    first.socket.close()
    second = open_listener(Address(path=str(path)))
    first.close()

    assert path.exists()
    second.close()
    assert not path.exists()


def test_other_file_is_not_touched(tmp_path: Path) -> None:
    """A file that is not a socket is left alone, and named."""
    path = tmp_path / "x.sock"
    path.write_text("precious")
    with pytest.raises(ServerError, match=r"x\.sock: there is a file that is not a socket"):
        open_listener(Address(path=str(path)))

    assert path.read_text() == "precious"


@pytest.mark.parametrize(("name", "reason"), [("none/x.sock", "its directory does not exist"), ("x" * 120, "too long")])
def test_impossible_path_is_one_line(name: str, reason: str, tmp_path: Path) -> None:
    """A path that cannot be is refused with the reason."""
    with pytest.raises(ServerError, match=rf"^cannot listen on unix:\S+: .*{reason}"):
        open_listener(Address(path=str(tmp_path / name)))


def test_descriptor_is_taken() -> None:
    """A socket that is open already is taken as it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = open_listener(Address(descriptor=os.dup(server.fileno())))

        assert listener.port == server.getsockname()[1]
        listener.close()


def test_wrong_descriptor_is_one_line(tmp_path: Path) -> None:
    """What is not open, not a socket, not a stream, or a connection is refused by its number."""
    one, other = socket.socketpair()
    with one, other, socket.socket(type=socket.SOCK_DGRAM) as datagrams, (tmp_path / "file").open("w") as file:
        for number, reason in [
            (999, "it is not open"),
            (file.fileno(), "it is not a socket"),
            (datagrams.fileno(), "it is not a stream socket"),
            (one.fileno(), "it is a connection; the unit of the socket needs Accept=no"),
        ]:
            with pytest.raises(ServerError) as caught:
                open_listener(Address(descriptor=number))
            assert str(caught.value) == f"cannot listen on descriptor {number} of --bind: {reason}"


def test_handed_over_sockets_are_for_one_process() -> None:
    """Sockets are counted from descriptor 3, for the process that `LISTEN_PID` names, and are not handed on."""
    names = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
    variables = {**names, "LISTEN_PID": str(os.getpid()), "PATH": "/bin"}

    assert [one.descriptor for one in take_handed_over(variables)] == [3, 4]
    assert variables == {"PATH": "/bin"}
    assert take_handed_over({**names, "LISTEN_PID": "1"}) == []
    assert take_handed_over({}) == []
    with pytest.raises(ServerError, match="LISTEN_FDS is not the number"):
        take_handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"})
