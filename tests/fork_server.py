"""Starts programs of Headwater as forks of a process that has imported them: an import costs 3 s of processor.

What a program does from its first line on is the same. A program that is started in another way on purpose, such as
with a preloaded library or by the supervisor, is not started by this.
"""

import array
import functools
import gc
import json
import os
import random
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import unsynced

#: What programs import, or some of it.
_IMPORTED = ("headwater.server", "headwater.bootstrap", "headwater.cli", "headwater_client.cli.app")
#: Bytes of a message at most.
_LONGEST = 1 << 20


class Process:
    """A program that was forked, to be used as a ``subprocess.Popen``."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ended(self.pid, within=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._server.ended(self.pid, within=timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks, and what it tells of its children."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # One thread for numpy: threads do not survive a fork.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
        self._told = threading.Condition()
        self._pids: list[int] = []
        self._ended: dict[int, int] = {}
        self._starting = threading.Lock()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdout: int,
        stderr: int,
        descriptors: int | None = None,
    ) -> Process:
        """Run ``python -m module arguments``; ``descriptors`` limits how many files it may open."""
        words = {"module": module, "arguments": arguments, "env": dict(env), "cwd": str(cwd), "limit": descriptors}
        with self._starting:
            socket.send_fds(self._socket, [json.dumps(words).encode()], [stdout, stderr])
            with self._told:
                assert self._told.wait_for(lambda: self._pids, timeout=60), "the fork server does not answer"
                return Process(self, self._pids.pop())

    def ended(self, pid: int, *, within: float | None) -> int | None:
        """Return how a process ended, or None if it has not within so many seconds."""
        with self._told:
            self._told.wait_for(lambda: pid in self._ended, timeout=within)
            return self._ended.get(pid)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._process.wait(20)
        self._listener.join()
        self._socket.close()

    def _listen(self) -> None:
        while message := self._socket.recv(_LONGEST):
            told = json.loads(message)
            with self._told:
                if "status" in told:
                    self._ended[told["pid"]] = told["status"]
                else:
                    self._pids.append(told["pid"])
                self._told.notify_all()


@functools.cache
def fork_server() -> ForkServer:
    """Return the fork server of this test worker; it ends with the worker."""
    return ForkServer()


def _serve(ours: socket.socket) -> None:
    unsynced.install()  # who is killed loses nothing that the kernel has; those who are not forked flush it
    for name in _IMPORTED:
        __import__(name)
    gc.collect()
    gc.freeze()  # so that children share what was imported
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; those who were started are told by their tests
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([ours, woken], [], [])
        if woken in ready:
            woken.recv(1024)
            _tell_of_ended(ours)
        if ours in ready:
            message, descriptors, _, _ = socket.recv_fds(ours, _LONGEST, 2)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for end in (ours, woken, wake):
                    end.close()
                _run(json.loads(message), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            ours.send(json.dumps({"pid": pid}).encode())


def _tell_of_ended(ours: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        ours.send(json.dumps({"pid": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _run(words: dict, descriptors: array.array) -> None:
    """Become the program: what ``exec`` would have given it is set."""
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in enumerate((nothing, *descriptors)):
        os.dup2(source, target)
    for descriptor in {nothing, *descriptors} - {0, 1, 2}:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(words["env"])
    os.chdir(words["cwd"])
    if words["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (words["limit"], words["limit"]))
    random.seed()
    sys.argv = [words["module"], *words["arguments"]]
    status = 1
    try:
        runpy.run_module(words["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - as an interpreter does
        sys.excepthook(*sys.exc_info())
    sys.exit(status)  # up through _serve, not os._exit: a program may have registered what is done at its end


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
