"""Where the module can be reached, and who is let in: a socket of this machine, or TLS for a web tier on another."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from signing.link.codes import DETAILS, NOT_PERMITTED
from signing.link.errors import PeerRefused, SocketInUse
from signing.link.frames import send_frame
from signing.link.tls import Tls, TlsFiles, prepare

_PEER: Final = struct.Struct("3i")
"""``struct ucred``: pid, uid, gid (unix(7), SO_PEERCRED)."""
_BACKLOG: Final = 64


class Door(Protocol):
    """One place to listen at."""

    def open(self) -> socket.socket:
        """Bind and listen.

        :raises SocketInUse: it cannot be had.
        """
        ...

    def receive(self, connection: socket.socket) -> socket.socket:
        """What is spoken over instead of a connection that was just accepted; waits for nothing.

        :raises OSError: the connection is gone.
        """
        ...

    def check(self, link: socket.socket, deadline: float) -> None:
        """Find out who is there.

        :raises PeerRefused: nobody who is let in.
        :raises LinkUnavailable: gone, or not in time.
        """
        ...

    def tells_strangers(self) -> bool:
        """Whether somebody who was not checked yet can be told that there is no room."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """One listening socket of this machine."""

    path: Path
    uids: frozenset[int]
    """Users whose processes may speak here; the kernel says who it is (SO_PEERCRED)."""
    mode: int
    """Of the socket file: a first barrier, not the one that counts."""
    max_connections: int = 32
    frame_seconds: float = 5.0
    """For one frame to arrive once it has begun, and for one to be sent."""
    idle_seconds: float = 300.0
    """After which a connection without a request is closed."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """One listening port for a web tier on another host."""

    host: str
    """An address of this host."""
    port: int
    files: TlsFiles
    max_connections: int = 32
    frame_seconds: float = 5.0
    """As :class:`SocketSettings`, and for the handshake."""
    idle_seconds: float = 300.0


def door_of(settings: SocketSettings | TlsSettings) -> Door:
    """The door that the settings describe.

    :raises SettingsError: the files of TLS cannot be used.
    """
    return UnixDoor(settings) if isinstance(settings, SocketSettings) else TlsDoor(settings)


class UnixDoor:
    """A Unix socket: the kernel's word on who is there."""

    def __init__(self, settings: SocketSettings) -> None:
        self._settings = settings

    def open(self) -> socket.socket:
        """See :class:`Door`."""
        path = self._settings.path
        _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Between bind and chmod the umask decides who can connect: for that moment, nobody else.
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            listener.close()
            raise SocketInUse("the socket cannot be bound") from error
        finally:
            os.umask(mask)
        path.chmod(self._settings.mode)
        listener.listen(_BACKLOG)
        return listener

    def receive(self, connection: socket.socket) -> socket.socket:
        """See :class:`Door`."""
        return connection

    def check(self, link: socket.socket, deadline: float) -> None:
        """See :class:`Door`."""
        uid = peer_uid(link)
        if uid not in self._settings.uids:
            send_frame(link, {"error": {"code": NOT_PERMITTED, "detail": DETAILS[NOT_PERMITTED]}}, deadline)
            raise PeerRefused(f"a process of user {uid}, who may not use this socket")

    def tells_strangers(self) -> bool:
        """See :class:`Door`."""
        return True

    def close(self) -> None:
        """See :class:`Door`."""
        self._settings.path.unlink(missing_ok=True)


class TlsDoor:
    """A port: the word of a certificate that is pinned."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._tls = Tls(settings.files, server=True)

    def open(self) -> socket.socket:
        """See :class:`Door`."""
        address = (self._settings.host, self._settings.port)
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        try:
            return socket.create_server(address, family=family, backlog=_BACKLOG)
        except OSError as error:
            raise SocketInUse("the address of the link over TLS cannot be bound") from error

    def receive(self, connection: socket.socket) -> socket.socket:
        """See :class:`Door`."""
        prepare(connection)
        return self._tls.wrap(connection)

    def check(self, link: socket.socket, deadline: float) -> None:
        """See :class:`Door`."""
        if not isinstance(link, ssl.SSLSocket):
            raise PeerRefused("not TLS")
        self._tls.shake_hands(link, deadline)

    def tells_strangers(self) -> bool:
        """See :class:`Door`."""
        return False

    def close(self) -> None:
        """See :class:`Door`."""


def peer_uid(connection: socket.socket) -> int:
    """User of the process at the other end, as the kernel recorded it when it connected."""
    _pid, uid, _gid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def shut(link: socket.socket) -> None:
    """Let no further request in; an answer can still be sent.

    Not the method of an SSLSocket, which would go on in the clear.
    """
    with contextlib.suppress(OSError):
        socket.socket.shutdown(link, socket.SHUT_RD)


def _clear(path: Path) -> None:
    """Remove the socket file that a dead process left."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketInUse("the socket's path cannot be looked at") from error
    if not stat.S_ISSOCK(kind):
        raise SocketInUse("the socket's path is something else")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise SocketInUse("the socket's path cannot be used") from error
    raise SocketInUse("another process serves this socket")
