"""A child process that dies with this one, however this one dies (`keeper.py` says how)."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

__all__ = ["KeptProcess"]

KEEPER = Path(__file__).with_name("keeper.py")


class KeptProcess:
    """One command under its keeper.

    `stop_signal` asks it to end; after `grace_seconds` its whole process group is killed. `orphan_signal` is for it
    when this process dies. `account` is the (user id, group id) to run as. `pass_fds` stay open in all that it starts.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
        account: tuple[int, int] | None = None,
        stop_signal: int = signal.SIGTERM,
        orphan_signal: int = signal.SIGKILL,
        grace_seconds: float = 10,
        pass_fds: Sequence[int] = (),
    ) -> None:
        owner, theirs = socket.socketpair()
        as_whom = "-" if account is None else f"{account[0]}:{account[1]}"
        settings = [str(int(stop_signal)), str(int(orphan_signal)), str(grace_seconds), as_whom]
        with theirs:
            self._keeper = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", "-S", str(KEEPER), *settings, *command],
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=env,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        self._life_line = owner
        with owner.makefile("rb") as answer:
            told = answer.readline()
        self.process_id: int | None = int(told) if told else None
        """The command's process id; None where it could not be started."""

    def exit_code(self) -> int | None:
        """How the command ended (128 + n: by signal n), or None while it runs."""
        return self._keeper.poll()

    def wait(self) -> int:
        """Block until the command ended, and return its exit code."""
        code = self._keeper.wait()
        self._life_line.close()
        return code

    def request_stop(self) -> None:
        """Ask for the end and return at once."""
        # Where the keeper, and with it the life line, is gone already, so is the command.
        with suppress(OSError):
            self._life_line.send(b"!")

    def stop(self) -> int:
        """End the command and what it started, wait for that, and return its exit code."""
        self.request_stop()
        return self.wait()
