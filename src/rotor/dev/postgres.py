"""A real Postgres of our own in one folder, for `rotor dev` and for tests.

How it stays out of the way:

- It listens on no port: its socket lies in its data folder, which only its account and root can enter.
- Started by root it runs as an ordinary account, for Postgres refuses root. It is started *inside* its data folder and
  names that `/proc/self/cwd`, so the folders above may stay closed to that account.
- It dies with us (`keeper.py`). `lock` in the folder is locked by us and, inherited, by every process of that Postgres:
  a second owner is told so, and one that follows a crash waits until the last process of the old server is gone.
- A first start is whole or not at all: the data is made in a folder beside, and then renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from rotor.dev.binaries import find_programs
from rotor.dev.process import KeptProcess
from rotor.errors import ConfigError

__all__ = ["Postgres"]

SETTINGS: Mapping[str, str] = {"listen_addresses": "", "unix_socket_directories": ".", "log_min_messages": "warning"}
SOCKET_PATH_BYTES = 100
"""What every system allows for the path of a socket (104 on macOS, 108 on Linux)."""
START_SECONDS = 60
TAKE_OVER_SECONDS = 30


class Postgres:
    """One embedded server, whose data is kept in `folder`. Its methods block for a moment.

    `settings` are Postgres' own, beyond those of a usual server.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "postgres"
        self.log = self.folder / "postgres.log"
        self.settings = {**SETTINGS, **(settings or {})}
        self.process: KeptProcess | None = None
        self._lock: int | None = None

    @property
    def dsn(self) -> str:
        """Where clients on this machine reach it."""
        return f"postgresql://rotor@/postgres?host={quote(str(self._socket_folder()), safe='/')}"

    def running_dsn(self) -> str | None:
        """`dsn`, where a server runs on the data, whoever started it; else None.

        Raises `ConfigError` where the data is another account's.
        """
        try:
            lines = self._process_file()
        except PermissionError:
            raise ConfigError(
                f"the database in {self.folder} is another account's: run this as that one, or as root"
            ) from None
        is_running = len(lines) > 7 and lines[7].strip() == "ready" and _is_alive(int(lines[0]))
        return self.dsn if is_running else None

    def start(self) -> None:
        """Start the server on its data, which is made where there is none, and return once it takes connections.

        Raises `ConfigError` where another process uses the folder, or where Postgres does not start.
        """
        self._take_folder()
        try:
            account = self._account()
            programs = find_programs(self.data, account)
            if not self.data.exists():
                self._create_data(programs, account)
            self._remove_stale_process_file()
            self._run(programs, account)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server (its clients are disconnected) and give the folder free."""
        if self.process is not None:
            self.process.stop()
            self.process = None
        if self._short_link.is_symlink():
            self._short_link.unlink()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"data cannot be kept in {self.folder} ({error.strerror}): use another --data folder"
            ) from None
        deadline = time.monotonic() + TAKE_OVER_SECONDS
        while not _locked(lock):
            owner = int(os.pread(lock, 20, 0) or b"0")
            if (_is_alive(owner) and owner != os.getpid()) or time.monotonic() > deadline:
                os.close(lock)
                raise ConfigError(
                    f"{self.folder} is in use by process {owner}: stop that one, or use another --data folder"
                )
            time.sleep(0.01)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _account(self) -> tuple[int, int] | None:
        """Whom Postgres runs as: None for ourselves; when we are root, the owner of the data or else `nobody`."""
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (owner := self.data.stat()).st_uid != 0:
            return owner.st_uid, owner.st_gid
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def _create_data(self, programs: Path, account: tuple[int, int] | None) -> None:
        fresh = self.folder / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if account is not None:
            os.chown(fresh, *account)
        user, group = account or (None, None)
        made = subprocess.run(  # noqa: S603 - the wheel's program
            [programs / "initdb", "-D", _here(), "--username=rotor", "--auth=trust", "--encoding=UTF8", "--no-locale"],
            cwd=fresh,
            env=_environment(),
            user=user,
            group=group,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ConfigError(f"the embedded Postgres could not make its data in {fresh}: {made.stderr.strip()}")
        fresh.rename(self.data)

    def _remove_stale_process_file(self) -> None:
        """After a crash, forget the old server's process id where it now is some other program's (as after a restart of
        a container): Postgres would take that for itself. That it is not running is what our lock says."""
        lines = self._process_file()
        program = Path("/proc", lines[0], "comm") if lines else Path()
        if program.is_file() and program.read_text(encoding="utf-8").strip() != "postgres":
            (self.data / "postmaster.pid").unlink()
            (self.data / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _run(self, programs: Path, account: tuple[int, int] | None) -> None:
        assert self._lock is not None
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("wb") as log:
            self.process = KeptProcess(
                [str(programs / "postgres"), "-D", _here(), *options],
                cwd=self.data,
                env=_environment(),
                output=log,
                account=account,
                stop_signal=signal.SIGINT,
                orphan_signal=signal.SIGQUIT,
                pass_fds=[self._lock],
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self.process.exit_code() is not None or time.monotonic() > deadline:
                said = self.log.read_text(encoding="utf-8", errors="replace").strip()[-2_000:]
                raise ConfigError(f"the embedded Postgres in {self.folder} did not start; it said:\n{said}")
            time.sleep(0.005)

    def _is_ready(self) -> bool:
        assert self.process is not None
        lines = self._process_file()
        return len(lines) > 7 and lines[0] == str(self.process.process_id) and lines[7].strip() == "ready"

    def _process_file(self) -> list[str]:
        """The lines of the file in which a running Postgres tells its process id and state, if there is one."""
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _socket_folder(self) -> Path:
        """The data folder, or where its path is too long for a socket a short link to it."""
        if len(os.fsencode(self.data / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES:
            return self.data
        link = self._short_link
        if link.is_symlink() and (link.readlink() != self.data or link.lstat().st_uid != os.geteuid()):
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(self.data)
        return link

    @property
    def _short_link(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir(), f"rotor-{os.geteuid()}-{digest}")


def _here() -> str:
    """The working folder, by a name that an account can use which may not enter the folders above."""
    return "/proc/self/cwd" if sys.platform == "linux" else "."


def _environment() -> dict[str, str]:
    """Nothing of the user's PG* variables; times in UTC."""
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process_id: int) -> bool:
    if process_id <= 0:
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
