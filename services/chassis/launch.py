"""Becomes another program that ends with its parent and, where it must, is not root.

Run as a plain script by services.chassis.children: `launch.py PARENT SIGNAL ACCOUNT ARGV...`. It
needs nothing but the standard library, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def unprivileged_uid() -> int:
    """An account that exists and is not root: programs that look up their user need one."""
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        others = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0]
        return min(others, default=65534)


def enter_namespace(uid: int) -> None:
    """Shows us to ourselves as `uid`, while files on disk stay those of who started us.

    Raises OSError where the kernel or a container does not allow user namespaces.
    """
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not allowed here")
    for name, text in (
        ("setgroups", "deny"),
        ("gid_map", f"{uid} {outer_gid} 1"),
        ("uid_map", f"{uid} {outer_uid} 1"),
    ):
        Path("/proc/self", name).write_text(text)


def become(account: str) -> None:
    """self: as we are; namespace: see enter_namespace; a number: that user, giving up root."""
    if account == "self":
        return
    if account == "namespace":
        enter_namespace(unprivileged_uid())
        return
    uid = int(account)
    os.setgroups([])
    os.setgid(pwd.getpwuid(uid).pw_gid)
    os.setuid(uid)


def main(arguments: list[str]) -> None:
    parent, signal_number, account, *argv = arguments
    become(account)
    if sys.platform == "linux":
        # After the change of user, which clears it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the parent ended before its child began")
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
