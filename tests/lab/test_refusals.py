"""What a machine that doesn't allow a lab is told: what is missing, and how to allow it."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

TIMEOUT = 60.0
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER, THIRD_ARGUMENT = 0, 32
"""Offsets in what a filter is given of a system call."""

UNSHARE, SOCKET = {"x86_64": (272, 41), "aarch64": (97, 198)}.get(platform.machine(), (0, 0))
MOUNT_SETATTR, CLONE3 = 442, 435
NETLINK_NETFILTER = 12

CHECK = """
from lateral.errors import ConfigurationError
from lateral.providers.lab import check
try:
    check()
except ConfigurationError as error:
    print(error)
"""

CROWDED = """
import os, resource
from lateral.errors import ConfigurationError
from lateral.lab.room import require_tasks
resource.setrlimit(resource.RLIMIT_NPROC, (60, 60))
if not os.geteuid():
    os.setuid(65534)  # root may have any number
try:
    require_tasks()
except ConfigurationError as error:
    print(error)
"""


class Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@dataclass(frozen=True)
class Refusal:
    """A system call, by number and if need be its third argument, and the error that it fails with."""

    call: int
    error: int
    argument: int | None = None

    def install(self) -> None:
        """Have the kernel refuse from now on, also to all programs that this process starts."""
        checks = [(NUMBER, self.call)]
        if self.argument is not None:
            checks.append((THIRD_ARGUMENT, self.argument))
        left = 2 * len(checks)
        program = []
        for offset, value in checks:
            program += [(LOAD, 0, 0, offset), (JUMP_IF_EQUAL, 0, left - 1, value)]
            left -= 2
        program += [(RETURN, 0, 0, ERROR | self.error), (RETURN, 0, 0, ALLOW)]
        packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
        libc = ctypes.CDLL(None, use_errno=True)
        for option, *arguments in (
            (PR_SET_NO_NEW_PRIVS, 1, 0),
            (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Filter(len(program), packed))),
        ):
            if libc.prctl(option, *arguments, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")


def told(refusal: Refusal) -> str:
    """What a user is told on a machine that refuses that."""
    return said(CHECK, refusal.install)


def said(program: str, first: Callable[[], None] | None = None) -> str:
    """The one line that a program says; `first` runs in its process before it does."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=first,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout


@pytest.mark.parametrize("refused", [errno.EPERM, errno.ENOSPC])
def test_refused_namespaces_name_the_way_to_allow_them(refused: int) -> None:
    message = told(Refusal(UNSHARE, refused))
    assert message.startswith(f"the lab needs namespaces, which this machine refuses (unshare: {os.strerror(refused)})")
    assert "--security-opt seccomp=unconfined" in message


def test_an_old_kernel_is_told_apart() -> None:
    assert told(Refusal(MOUNT_SETATTR, errno.ENOSYS)).startswith("the lab needs Linux 5.12 or later")


def test_a_kernel_without_nftables_is_told_apart() -> None:
    message = told(Refusal(SOCKET, errno.EPROTONOSUPPORT, NETLINK_NETFILTER))
    assert message.startswith("the lab needs nftables")
    assert "modprobe nf_tables" in message


@pytest.mark.parametrize(("soft", "hard"), [(64, 64), (64, 512), (400, 400)])
def test_too_few_open_files_are_told_before_they_run_out(soft: int, hard: int) -> None:
    """A run would hang for minutes."""
    message = said(CHECK, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
    assert message.startswith(f"the lab needs 128 open files, and a hard limit of 512; found {soft} and {hard}: raise")
    assert "ulimit -n 1024" in message


def test_too_few_processes_are_told_before_they_run_out() -> None:
    message = said(CROWDED)
    assert message.startswith("the lab needs room for 200 more processes and threads, and found ")
    assert "(`ulimit -u` is 60)" in message


@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.34"), reason="threads come by another system call there")
def test_not_even_a_thread_is_told() -> None:
    """A process that can't even have a thread to read the lab's log by says the same."""
    assert "more processes and threads, and found 0" in told(Refusal(CLONE3, errno.EAGAIN))
