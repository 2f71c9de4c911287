"""What a process in a running lab's pod can't reach of the machine, and what other users can't reach of the lab."""

from __future__ import annotations

import itertools
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lateral
from lateral.pods import is_ready
from lateral.providers.lab import started
from lateral.resources import Run, template
from lateral.waiting import until

if TYPE_CHECKING:
    from lateral.cluster import Cluster

RUN = Run("cafe0003")
SECONDS = 20.0
SECRET = "known-to-the-runner-only"  # noqa: S105 - nothing that anybody uses
ABSTRACT = "\0a-name-of-the-host"

DIAL = r"""
use Socket;
for (@ARGV) {
    my ($address, $port) = split /:/;
    socket(S, PF_INET, SOCK_STREAM, 6) or die;
    local $SIG{ALRM} = sub { die "silent\n" };
    alarm 2;
    my $connected = eval { connect(S, sockaddr_in($port, inet_aton($address))) };
    alarm 0;
    print "$_ ", $@ || ($connected ? "connected\n" : "$!\n");
}
"""
ABSTRACT_DIAL = r"""
use Socket;
socket(S, PF_UNIX, SOCK_STREAM, 0) or die;
print connect(S, pack("S a*", 1, "\0" . shift)) ? "connected" : $!;
"""


@dataclass(frozen=True)
class Pods:
    """A lab with two pods of a network of their own, and one of the node's."""

    cluster: Cluster
    kubeconfig: dict[str, Any]

    def run(self, *argv: str, pod: str = "shell") -> str:
        done = self.cluster.exec("default", pod, argv)
        return (done.stdout + done.stderr).decode(errors="replace")

    def shell(self, script: str, pod: str = "shell") -> str:
        return self.run("bash", "-c", script, pod=pod)


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUD_TOKEN", SECRET)
        with started() as lab:
            on_node = RUN.stamp(template("rogue"), name="on-node", namespace="default")
            on_node["spec"]["hostNetwork"] = True
            own = [RUN.stamp(template("rogue"), name=name, namespace="default") for name in ("shell", "killer")]
            lab.cluster.apply([*own, on_node])

            def ready() -> bool | None:
                found = lab.cluster.list("v1", "Pod", "default")
                return True if len(found) == 3 and all(map(is_ready, found)) else None

            until("the test's pods", ready, timeout=SECONDS)
            yield Pods(lab.cluster, dict(lab.kubeconfig))


@pytest.mark.parametrize("pod", ["shell", "on-node"])
def test_no_listener_of_the_machine_is_reached(pods: Pods, pod: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listening:  # noqa: S104 - what must not be reached
        port = listening.getsockname()[1]
        api = pods.kubeconfig["clusters"][0]["cluster"]["server"].rpartition(":")[2]
        addresses = {"127.0.0.1", "169.254.1.1", "10.100.0.1", "10.102.0.1", *_addresses_of_the_machine()}
        ends = [f"{address}:{number}" for address in sorted(addresses) for number in (port, api)]
        printed = pods.run("perl", "-e", DIAL, *ends, "169.254.169.254:80", "192.0.2.1:443", pod=pod)
    assert len(printed.splitlines()) == len(ends) + 2
    assert "connected" not in printed
    for unreachable in ("169.254.169.254:80", "192.0.2.1:443"):
        assert f"{unreachable} Network is unreachable" in printed


def _addresses_of_the_machine() -> set[str]:
    """Every address that this machine has for others, by its own table of local routes."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    return {before.split()[-1] for before, line in itertools.pairwise(lines) if "/32 host LOCAL" in line}


@pytest.mark.parametrize("pod", ["shell", "on-node"])
def test_abstract_sockets_of_the_machine_are_not_reached(pods: Pods, pod: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(ABSTRACT)
        listening.listen()
        assert pods.run("perl", "-e", ABSTRACT_DIAL, ABSTRACT[1:], pod=pod) == "Connection refused"
    assert ABSTRACT[1:] not in pods.shell("cat /proc/net/unix", pod)


def test_processes_of_the_machine_are_neither_seen_nor_signalled(pods: Pods) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as victim:
        assert len(pods.shell("echo /proc/[0-9]*", "killer").split()) < 6
        pods.shell(f"kill -9 {victim.pid} 1; kill -9 -1", "killer")
        assert victim.poll() is None
        victim.kill()
    assert pods.shell("echo here") == "here\n"
    (dns,) = pods.cluster.list("v1", "Pod", "kube-system")
    assert [status["restartCount"] for status in dns["status"]["containerStatuses"]] == [0]


def test_the_environment_that_the_lab_was_started_in_stays_outside(pods: Pods) -> None:
    printed = pods.shell(
        "cat /proc/[0-9]*/environ; tr '\\0' '\\n' </proc/self/environ; env; grep -a -m1 known /proc/1/mem"
    )
    assert "PATH=" in printed
    assert SECRET not in printed


def test_the_checkout_the_interpreter_and_the_settings_of_the_machine_are_read_only(pods: Pods) -> None:
    package = Path(lateral.__file__).parent
    files = (package / "written", Path(sys.prefix, "written"), Path("/proc/sys/kernel/core_pattern"))
    for target in (*files, Path("/proc/sys/net/ipv4/ip_forward"), Path("/usr/bin/written")):
        printed = pods.shell(f"echo x >{target} && echo done")
        assert "Read-only file system" in printed, printed
    assert not any(file.exists() for file in files[:2])
    # Beside them there are folders of the pod's own, where it writes to itself.
    beside = package.parents[1] / "written-by-a-pod"
    pods.shell(f"echo x >{beside}")
    assert not beside.exists()


def test_a_shell_that_is_run_in_a_pod_has_no_more_rights_than_its_first_process(pods: Pods) -> None:
    shown = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/{}/status"
    assert pods.shell(shown.format("self")) == pods.shell(shown.format(1))
    assert pods.shell("mount -t proc proc /tmp 2>&1; mknod /tmp/zero c 1 5 2>&1 && echo done").count("done") == 0


def test_pods_do_not_see_each_others_processes_or_files(pods: Pods) -> None:
    pods.shell("echo mine >/tmp/of-shell; echo mine >/dev/shm/of-shell")
    assert pods.shell("ls /tmp/of-shell /dev/shm/of-shell 2>/dev/null", "on-node") == ""
    assert len(pods.shell("echo /proc/[0-9]*", "on-node").split()) < 6


@pytest.mark.parametrize(
    "path", ["/api", "/version", "/api/v1/pods", "/api/v1/namespaces/default/pods/shell/exec?command=id", "/openapi/v3"]
)
@pytest.mark.parametrize("token", ["", "guessed"])
def test_the_api_refuses_who_has_no_token(pods: Pods, path: str, token: str) -> None:
    server = pods.kubeconfig["clusters"][0]["cluster"]["server"]
    request = urllib.request.Request(server + path)  # noqa: S310 - the lab's own
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=SECONDS)  # noqa: S310, S323
    assert caught.value.code == 401
    caught.value.close()


def test_the_token_is_nowhere_where_other_users_can_read_it(pods: Pods) -> None:
    token = pods.kubeconfig["users"][0]["user"]["token"]
    for pid in (found for found in Path("/proc").iterdir() if found.name.isdigit()):
        for name in ("cmdline", "environ"):
            try:
                assert token.encode() not in (pid / name).read_bytes()
            except OSError:  # gone meanwhile, or another user's
                continue
    assert token not in pods.shell(
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; grep -r -a -l . /run /etc 2>/dev/null"
    )


def test_the_api_listens_on_loopback_only(pods: Pods) -> None:
    server = pods.kubeconfig["clusters"][0]["cluster"]["server"]
    assert server.startswith("https://127.0.0.1:")
    port = int(server.rpartition(":")[2])
    for address in _addresses_of_the_machine() - {"127.0.0.1", "127.255.255.255"}:
        with socket.socket() as client:
            client.settimeout(2)
            assert client.connect_ex((address, port)) != 0


def test_what_a_pod_forks_without_end_ends_with_the_pod(pods: Pods) -> None:
    """Their number isn't limited: what is known is that none outlives its pod."""
    mark = f"fork-{os.getpid()}"
    pods.shell(f"for i in $(seq 100); do (exec -a {mark} sleep 300) & done 2>/dev/null; true")

    def count() -> int:
        return sum(mark.encode() in _command_line(pid) for pid in Path("/proc").iterdir() if pid.name.isdigit())

    assert count() == 100
    (pod,) = [pod for pod in pods.cluster.list("v1", "Pod", "default") if pod["metadata"]["name"] == "shell"]
    pods.cluster.delete(pod)
    until("the pod's processes to end", lambda: True if not count() else None, timeout=SECONDS)


def _command_line(pid: Path) -> bytes:
    try:
        return (pid / "cmdline").read_bytes()
    except OSError:
        return b""
