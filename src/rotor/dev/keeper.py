"""Run one command and let it outlive nobody: a script that `KeptProcess` starts, never imported by it.

Standard input is a socket to the process that asked (the *owner*). Over it the keeper tells the command's process id,
and a byte from the owner asks for the end: the command gets the stop signal and, after the grace time, its whole
process group gets SIGKILL. End of file without that byte means that the owner died, for the kernel closes the socket
however it died: the command gets the orphan signal. On Linux the kernel sends it that signal also when the keeper dies.

Usage: keeper.py STOP_SIGNAL ORPHAN_SIGNAL GRACE_SECONDS UID:GID|- COMMAND...
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    stop_signal, orphan_signal, grace_seconds = int(arguments[0]), int(arguments[1]), float(arguments[2])
    account = [int(part) for part in arguments[3].split(":")] if arguments[3] != "-" else None
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = start(arguments[4:], account, orphan_signal)
    tell(f"{command.pid}\n")
    while command.poll() is None:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable and set(os.read(woken, 64)) - {signal.SIGCHLD}:
            return stop(command, stop_signal, grace_seconds)
        if 0 in readable:
            return stop(command, stop_signal if asked() else orphan_signal, grace_seconds)
    return sweep(command)


def start(command: list[str], account: list[int] | None, orphan_signal: int) -> subprocess.Popen[bytes]:
    """Start `command` in a process group of its own; file descriptors that the owner passed on stay open in it."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    keeper = os.getpid()

    def before_exec() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, orphan_signal)
            if os.getppid() != keeper:
                os._exit(1)

    user, group = account or (None, None)
    return subprocess.Popen(  # noqa: S603 - the command is the owner's
        command,
        stdin=subprocess.DEVNULL,
        close_fds=False,
        process_group=0,
        user=user,
        group=group,
        extra_groups=[] if account else None,
        preexec_fn=before_exec,  # noqa: PLW1509 - the keeper has one thread
    )


def tell(text: str) -> None:
    # An owner that is gone already is noticed by its end of file, next in the loop.
    with contextlib.suppress(OSError):
        os.write(0, text.encode())


def asked() -> bool:
    """Whether the owner lives and asks for the end."""
    with contextlib.suppress(ConnectionResetError):
        return os.read(0, 1) != b""
    return False


def stop(command: subprocess.Popen[bytes], stop_signal: int, grace_seconds: float) -> int:
    command.send_signal(stop_signal)
    deadline = time.monotonic() + grace_seconds
    while command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return sweep(command)


def sweep(command: subprocess.Popen[bytes]) -> int:
    """End what is left of the process group and return the command's exit code, 128 + n for a death by signal n."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(command.pid, signal.SIGKILL)
    code = command.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
