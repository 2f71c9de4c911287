"""What containers and the node can't do to the machine, or see of it."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from tests.lab.in_node import SESSION_KEY, Node, find_key, in_node, output

from lateral.lab import isolation, rootfs


@in_node
async def test_a_container_can_not_write_what_is_the_hosts(node: Node) -> None:
    targets = (
        "/usr/file /bin/file /etc/ssl/file /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/self/comm "
        f"{Path(isolation.__file__).parent}/file"
    )
    script = f"for target in {targets}; do echo 0 >>$target; done 2>&1"
    printed = (await node.shell(script)).splitlines()
    assert len(printed) == len(targets.split())
    assert all(line.endswith(("Read-only file system", "Permission denied")) for line in printed), printed


@in_node
async def test_a_container_has_harmless_devices_only_and_can_make_no_others(node: Node) -> None:
    listed = await node.shell(
        "shopt -s globstar; for file in /dev/**; do [ ! -L $file ] && [ -b $file -o -c $file ] && echo $file; done"
    )
    harmless = {f"/dev/{name}" for name in ("full", "null", "pts/ptmx", "random", "tty", "urandom", "zero")}
    assert set(listed.split()) <= harmless, listed
    assert "Operation not permitted" in await node.shell("mknod /tmp/disk b 254 0 2>&1")


@in_node
async def test_a_container_can_not_mount_or_leave_or_gain_rights(node: Node) -> None:
    commands = (
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /usr",
        "umount /proc",
        "hostname other",
        *(f"unshare {kind} true" for kind in ("-m", "-n", "-p -f", "-i", "-u", "-U", "-Urm", "-Ur")),
        "nsenter -t 1 -m true",
        "chroot /proc/1/root/.. test -e /sys",
    )
    for command in commands:
        assert await node.shell(f"{command} 2>/dev/null && echo done") == ""
    status = dict(line.split(":\t") for line in (await node.shell("cat /proc/self/status")).splitlines())
    assert status["NoNewPrivs"] == "1"
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) & (1 << 21 | 1 << 12 | 1 << 27) == 0  # no SYS_ADMIN, NET_ADMIN, MKNOD
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0


SYSTEM_CALLS = r"""
my %numbers = (
    "x86_64" => {keyctl => 250, add_key => 248, unshare => 272, clone3 => 435},
    "aarch64" => {keyctl => 219, add_key => 217, unshare => 97, clone3 => 435},
);
my $machine = `uname -m`; chomp $machine;
my $of = $numbers{$machine} or exit;
my ($type, $name, $value) = ("user", "name", "value");
sub call {
    my ($name, @rest) = @_;
    my $got = syscall($of->{$name}, @rest);
    print "$name ", $got < 0 ? $! + 0 : "done", "\n";
}
call("keyctl", 0, -3, 1);
call("keyctl", 0, -4, 1);
call("add_key", $type, $name, $value, 5, -3);
call("unshare", 0x10000000);
call("clone3", 0, 0);
print "vsock ", socket(S, 40, 1, 0) ? "done" : $! + 0, "\n";
"""


@in_node
async def test_a_container_has_no_system_calls_that_lead_past_its_namespaces(node: Node) -> None:
    printed = await output(await node.start("perl", "-e", SYSTEM_CALLS))
    refused = {
        "keyctl": errno.EPERM,
        "add_key": errno.EPERM,
        "unshare": errno.EPERM,
        "clone3": errno.ENOSYS,
        "vsock": errno.EAFNOSUPPORT,
    }
    # No filter is known for other machines' numbers, as the page on the lab says.
    if os.uname().machine in ("x86_64", "aarch64"):
        assert dict(line.split() for line in printed.splitlines()) == {name: str(why) for name, why in refused.items()}


@in_node
async def test_the_keys_of_the_login_session_stay_outside(node: Node) -> None:
    assert await node.shell("cat /proc/keys /proc/key-users /proc/timer_list 2>/dev/null") == ""
    with pytest.raises(OSError, match="Required key not available"):
        find_key(SESSION_KEY)


@in_node
async def test_a_container_sees_its_own_processes_only(node: Node) -> None:
    await node.start("lateral-image", "wait")
    other = await node.start("sleep", "infinity")
    assert (await node.shell("echo /proc/[0-9]*")).split() == ["/proc/1", "/proc/2"]
    process = await node.spawner.exec(other, ["bash", "-c", "tr '\\0' ' ' </proc/2/cmdline"])
    assert await output(process) == "sleep infinity "


@in_node
async def test_containers_share_no_folders_and_no_name(node: Node) -> None:
    script = "[ -e /tmp/mark ] || [ -e /run/mark ] || [ -e /dev/shm/mark ] && echo seen; touch /{tmp,run,dev/shm}/mark"
    assert await node.shell(script) == ""
    assert await node.shell(script) == ""
    assert "mark" not in _names("/tmp")  # noqa: S108  # the node's own
    assert await node.shell("hostname; cat /etc/hostname") == "pod-1\npod-1\n"
    assert socket.gethostname() == isolation.HOSTNAME


@in_node
async def test_a_container_inherits_nothing_open(node: Node) -> None:
    os.set_inheritable(node.netns, True)
    container = await node.start("perl", "-e", "opendir D, '/proc/self/fd'; print join ' ', sort grep /\\d/, readdir D")
    assert await output(container) == "0 1 2 3"  # 3 is the folder that is being read
    assert await node.shell("readlink /proc/self/fd/0") == "/dev/null\n"


@in_node
async def test_the_hosts_folders_are_out_of_sight(node: Node) -> None:
    kept = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "mnt", "proc", "root", "run", "sbin", "tmp", "usr"}
    parents = {Path(tree).parts[1] for tree in rootfs.shared_trees()}
    assert set((await node.shell("ls /")).split()) <= kept | parents
    assert set(_names("/")) <= kept | parents
    private = "/etc/shadow /etc/ssh /root/.ssh /sys /home /var /boot /proc/kcore /proc/sysrq-trigger /proc/1/root/sys"
    assert await node.shell(f"ls -d {private} 2>/dev/null") == ""
    assert await node.shell("cat /etc/passwd /etc/group") == "".join(list(rootfs.ACCOUNTS.values())[:2])


@in_node
async def test_what_a_package_manager_replaces_is_copied(node: Node) -> None:
    """A view of a file that is replaced meanwhile could be shown to no container that starts later."""
    files = _configuration()
    assert files
    for file in files:
        assert await node.shell(f"cat {file} | cksum; grep -c ' {file} ' /proc/self/mounts") == (
            f"{await node.shell(f'cksum < {file}')}0\n"
        )


def _configuration() -> list[str]:
    return [tree for tree in rootfs.shared_trees() if tree.startswith("/etc/") and Path(tree).is_file()]


def _names(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


@in_node
async def test_the_node_is_off_the_host(node: Node) -> None:
    _check_this_process(node.server)


def _check_this_process(server: int) -> None:
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    writable = {line[4] for line in mounts if "ro" not in line[5].split(",")}
    devices = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "pts")}
    assert writable == {"/", "/proc/sys/net", *devices}
    for setting in ("kernel/hostname", "vm/swappiness"):
        with pytest.raises(OSError, match="Read-only"):
            Path("/proc/sys", setting).write_text("0")
    assert [name for _, name in socket.if_nameindex() if name.startswith(("eth", "en", "wl"))] == []
    assert os.getppid() == 0
    assert {pid for pid in _names("/proc") if pid.isdigit()} == {"1", str(server)}
