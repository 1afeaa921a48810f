"""The addresses of a server: TCP ports, Unix sockets, and sockets that the service manager hands over.

A TCP socket is bound at first, and takes connections once the app has started. A Unix socket takes them at once, so
that another server sees that it is in use.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

BACKLOG = 2048  # connections waiting to be accepted
SOCKET_MODE = 0o660  # of a Unix socket: its owner and its group may connect
_FIRST_HANDED_OVER = 3  # sd_listen_fds(3)
_PROBE_TIMEOUT = 1.0  # seconds

_REASONS = {
    errno.EADDRINUSE: "it is in use; choose another port with {option}",
    errno.EACCES: "this user may not listen there; choose a port above 1023 with {option}",
    errno.EADDRNOTAVAIL: "this machine does not have the address; choose another with {host}",
}
_PATH_REASONS = {
    errno.EACCES: "this user may not write in its directory",
    errno.ENOENT: "its directory does not exist; make it first",
    errno.ENOTDIR: "its directory does not exist; make it first",
    errno.EROFS: "its directory cannot be written",
}


class ServerError(RuntimeError):
    """The server did not start; the text says why.

    Attributes:
        exit_code: That of the process.
    """

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on: host and port, or the path of a Unix socket, or a descriptor that is open already.

    Attributes:
        host: A name or an address of this machine; `0.0.0.0` and `::` are all of its addresses.
        port: 0 takes one that is free; None is that of the settings.
        path: Of a Unix socket.
        descriptor: Of a socket that listens.
        source: The option or variable that names the address.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    path: str | None = None
    descriptor: int | None = None
    source: str = "--bind"

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        if self.descriptor is not None:
            return f"fd:{self.descriptor}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def with_port(self, port: int) -> "Address":
        """Return the address with this port, if it has a host and no port."""
        if self.path is not None or self.descriptor is not None or self.port is not None:
            return self
        return replace(self, port=port)

    @classmethod
    def parse(cls, text: str, *, source: str = "--bind") -> "Address":
        """Read `HOST:PORT`, `[IPv6]:PORT`, `unix:PATH` or `fd:NUMBER`.

        Raises:
            ValueError: The text is none of them.
        """
        kind, _, rest = text.partition(":")
        if kind == "unix" and rest:
            return cls(path=os.path.abspath(rest), source=source)
        if kind == "fd" and rest.isascii() and rest.isdecimal():
            return cls(descriptor=int(rest), source=source)
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        is_bracketed = host == f"[{bare}]"
        is_port = port.isascii() and port.isdecimal() and int(port) < 65536
        if colon and is_port and bare and is_bracketed == (":" in bare):
            return cls(host=bare, port=int(port), source=source)
        raise ValueError("write it as HOST:PORT, [IPv6]:PORT, unix:PATH or fd:NUMBER")


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that is bound.

    Attributes:
        socket: The socket.
        path: Of a Unix socket.
        made: The device, the inode and the time of the Unix socket's file, where this process made it.
        source: The option or variable that names the address.
    """

    socket: socket.socket
    path: str | None = None
    made: tuple[int, int, int] | None = None
    source: str = "--bind"

    @property
    def host(self) -> str | None:
        """Its address; None for a Unix socket."""
        return None if self.is_local else str(self.socket.getsockname()[0])

    @property
    def port(self) -> int | None:
        """Its port; None for a Unix socket."""
        return None if self.is_local else int(self.socket.getsockname()[1])

    @property
    def is_local(self) -> bool:
        """True for a Unix socket."""
        return self.socket.family == socket.AF_UNIX

    def describe(self, scheme: str) -> str:
        """Return the address as a URL, or as `unix:PATH`."""
        if self.is_local:
            return f"unix:{self.path}"
        return f"{scheme}://{Address(self.host or '', self.port or 0)}"

    def close(self) -> None:
        """Close the socket, and remove the file of a Unix socket that is still this one."""
        if self.path is not None and self.made is not None:
            with contextlib.suppress(OSError), _locked(self.path):
                if _identity_of(self.path) == self.made:
                    os.unlink(self.path)
        self.socket.close()


def open_listener(address: Address, *, mode: int = SOCKET_MODE, only_ipv6: bool = False) -> Listener:
    """Return a listener on an address.

    Args:
        address: The address.
        mode: The permissions of a Unix socket.
        only_ipv6: Leave IPv4 out, where the address is `::`.

    Raises:
        ServerError: With the reason in one line.
    """
    if address.descriptor is not None:
        return _take_descriptor(address, address.descriptor)
    if address.path is not None:
        return _open_path(address, address.path, mode)
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise cannot_listen(address, error, source=address.source) from error
    return Listener(listener, source=address.source)


def open_listeners(addresses: Sequence[Address], *, mode: int = SOCKET_MODE) -> list[Listener]:
    """Return listeners on all addresses, in their order, or none if one of them cannot be had.

    `::` takes IPv4 as well, unless another address has the same port there.

    Args:
        addresses: The addresses.
        mode: The permissions of Unix sockets.

    Raises:
        ServerError: With the reason in one line.
    """
    ports = {address.port for address in addresses if _is_tcp(address) and ":" not in address.host}
    opened: list[Listener] = []
    try:
        for address in addresses:
            listener = open_listener(address, mode=mode, only_ipv6=address.port in ports)
            opened.append(listener)
    except ServerError:
        for listener in opened:
            listener.close()
        raise
    return opened


def cannot_listen(address: object, error: OSError, *, source: str) -> ServerError:
    """Return an error that says why an address cannot be had, and what to do.

    Args:
        address: The address.
        error: Of the system.
        source: The option or variable that names the address.
    """
    reason = _REASONS.get(error.errno or 0, error.strerror or type(error).__name__)
    is_port = source == "--port"
    reason = reason.format(option="--port or PORT" if is_port else source, host="--host" if is_port else source)
    return ServerError(f"cannot listen on {address}: {reason}")


def take_handed_over(variables: MutableMapping[str, str]) -> list[Address]:
    """Return the sockets that the service manager hands over to this process (sd_listen_fds(3)).

    The variables are removed: they are for this process alone.

    Args:
        variables: Of the environment: `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`.

    Raises:
        ServerError: `LISTEN_FDS` is not a number.
    """
    if variables.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = variables.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        variables.pop(name, None)
    if not (count.isascii() and count.isdecimal()):
        raise ServerError("LISTEN_FDS is not the number of sockets that are handed over; the service manager sets it")
    descriptors = range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + int(count))
    return [Address(descriptor=descriptor, source="LISTEN_FDS") for descriptor in descriptors]


def _is_tcp(address: Address) -> bool:
    return address.path is None and address.descriptor is None


def _take_descriptor(address: Address, descriptor: int) -> Listener:
    try:
        os.set_inheritable(descriptor, False)
        taken = socket.socket(fileno=descriptor)
    except OSError as error:
        what = "is not open" if error.errno == errno.EBADF else "is not a socket"
        raise ServerError(f"cannot listen on descriptor {descriptor} of {address.source}: it {what}") from error
    is_stream = taken.type == socket.SOCK_STREAM and taken.family in {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}
    is_connected = True
    try:
        taken.getpeername()
    except OSError:
        is_connected = False
    if not is_stream or is_connected:
        taken.detach()
        what = "a connection; the unit of the socket needs Accept=no" if is_connected else "not a stream socket"
        raise ServerError(f"cannot listen on descriptor {descriptor} of {address.source}: it is {what}")
    return Listener(taken, os.fsdecode(taken.getsockname()) if taken.family == socket.AF_UNIX else None)


def _open_path(address: Address, path: str, mode: int) -> Listener:
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _locked(path):
            _remove_stale(path)
            listener.bind(path)
            os.chmod(path, mode)
            made = _identity_of(path)
            listener.listen(BACKLOG)
    except (OSError, ServerError) as error:
        listener.close()
        if isinstance(error, ServerError):
            raise
        reason = _PATH_REASONS.get(error.errno or 0, error.strerror or str(error))
        raise ServerError(f"cannot listen on {address}: {reason}") from error
    return Listener(listener, path, made)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Lock the directory of a Unix socket, so that servers look at it and change it one after another."""
    directory = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _remove_stale(path: str) -> None:
    """Remove a Unix socket on which nobody listens, such as one that a killed server has left.

    Raises:
        ServerError: Somebody listens, or it is another kind of file.
    """
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ServerError(
            f"cannot listen on unix:{path}: there is a file that is not a socket; move it, or name another"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.ETIMEDOUT} and not isinstance(error, TimeoutError):
                raise
    raise ServerError(f"cannot listen on unix:{path}: another server listens there; stop it, or name another path")


def _identity_of(path: str) -> tuple[int, int, int]:
    # With the time, because the inode of a file that was removed is used again.
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns
