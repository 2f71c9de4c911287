"""Exec, attach, port-forward and logs, with the official client and with the raw protocol."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import websocket
from kubernetes import client as official_client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

from .served import TOKEN, Served

# Some of what the client gives depends on how it is asked, which its types don't say.
client: Any = official_client
# A refused handshake leaves the client's socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

EXEC = "/api/v1/namespaces/shop/pods/web/exec"


def run(served: Served, *command: str, name: str = "web", **options: Any) -> Any:
    """An exec by the official client; an ApiClient of its own, as `stream` changes it while it runs."""
    asked: dict[str, Any] = {"stdin": False, "stdout": True, "stderr": True, "tty": False, **options}
    api = client.CoreV1Api(served.client())
    ran = stream(
        api.connect_get_namespaced_pod_exec, name, "shop", command=list(command), _preload_content=False, **asked
    )
    served.cleanup.callback(ran.close)
    return ran


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait up to 5 s."""
    end = time.monotonic() + 5
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within 5 s"
        pause.wait(0.02)


def test_exec_brings_both_outputs_and_the_status(with_pod: Served) -> None:
    ran = run(with_pod, "sh", "-c", "echo out; echo err >&2; exit 3")
    ran.run_forever(timeout=10)
    assert (ran.read_stdout(), ran.read_stderr(), ran.returncode) == ("out\n", "err\n", 3)


def test_exec_says_success(with_pod: Served) -> None:
    ran = run(with_pod, "true")
    ran.run_forever(timeout=10)
    assert ran.returncode == 0


def test_exec_takes_input(with_pod: Served) -> None:
    ran = run(with_pod, "sh", "-c", "read line; echo got $line", stdin=True)
    ran.write_stdin("it\n")
    ran.run_forever(timeout=10)
    assert ran.read_stdout() == "got it\n"


def test_exec_without_input_gives_its_end(with_pod: Served) -> None:
    ran = run(with_pod, "cat")
    ran.run_forever(timeout=10)
    assert ran.returncode == 0


def test_output_that_was_not_asked_for_does_not_stop_the_process(with_pod: Served) -> None:
    ran = run(with_pod, "sh", "-c", "head -c 1000000 /dev/zero >&2; echo done", stderr=False)
    ran.run_forever(timeout=10)
    assert (ran.read_stdout(), ran.read_stderr()) == ("done\n", "")


def test_much_output_arrives_whole(with_pod: Served) -> None:
    ran = run(with_pod, "sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x")
    ran.run_forever(timeout=20)
    assert len(ran.read_stdout()) == 5_000_000


def test_a_process_ends_though_a_child_holds_its_output(with_pod: Served) -> None:
    begun = time.monotonic()
    ran = run(with_pod, "sh", "-c", "sleep 30 & echo started")
    ran.run_forever(timeout=10)
    assert (ran.read_stdout(), ran.returncode) == ("started\n", 0)
    assert time.monotonic() - begun < 10


def test_the_process_is_killed_when_the_client_goes(with_pod: Served) -> None:
    ran = run(with_pod, "sleep", "1000")
    (process,) = with_pod.kubelet.started
    ran.close()
    until(lambda: process.process.returncode == -9, "the process's end")


def test_the_process_is_killed_when_the_client_dies(with_pod: Served) -> None:
    """Without a closing handshake, while the process writes more than is read."""
    ran = run(with_pod, "sh", "-c", "while :; do echo y; done")
    (process,) = with_pod.kubelet.started
    ran.sock.sock.shutdown(socket.SHUT_RDWR)
    ran.sock.sock.close()
    until(process.killed.is_set, "the kill")
    until(lambda: process.process.returncode == -9, "the process's end")


def test_a_client_that_does_not_read_stops_the_process(with_pod: Served) -> None:
    """Output is not gathered without bound."""
    ran = run(with_pod, "sh", "-c", "head -c 200000000 /dev/zero; echo finished >&2")
    (process,) = with_pod.kubelet.started
    threading.Event().wait(1.0)
    assert process.process.returncode is None
    ran.close()


def test_seventeen_execs_run_at_once(with_pod: Served) -> None:
    def one(number: int) -> str:
        ran = run(with_pod, "sh", "-c", f"sleep 0.5; echo {number}")
        ran.run_forever(timeout=20)
        assert ran.returncode == 0
        return str(ran.read_stdout())

    begun = time.monotonic()
    with ThreadPoolExecutor(17) as pool:
        assert list(pool.map(one, range(17))) == [f"{number}\n" for number in range(17)]
    assert time.monotonic() - begun < 6, "one after another they take 8.5 s"


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("missing", {}, "404"),
        ("unbound", {}, "does not have a host assigned"),
        ("two", {}, "a container name must be specified for pod two, choose one of: [main side]"),
        ("two", {"container": "other"}, "container other is not valid for pod two"),
        ("two", {"container": "side"}, "container side is not running"),
        ("web", {"stdout": False, "stderr": False}, "at least 1 of stdin, stdout, stderr"),
    ],
)
def test_an_exec_that_cannot_be_is_refused_before_it_starts(
    with_pod: Served, name: str, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ApiException) as refused:
        run(with_pod, "true", name=name, **options)
    assert named in str(refused.value.reason)
    assert with_pod.kubelet.started == []


@pytest.mark.parametrize("subresource", ["exec?command=sh&stdout=1", "attach?stdout=1", "portforward?ports=80"])
def test_without_a_websocket_a_stream_is_refused(with_pod: Served, subresource: str) -> None:
    answer = with_pod.ask("GET", f"/api/v1/namespaces/shop/pods/web/{subresource}&container=main")
    assert (answer.code, "over WebSocket only" in answer.message) == (400, True)
    assert with_pod.kubelet.started == []


def test_attach_brings_output(with_pod: Served) -> None:
    api = client.CoreV1Api(with_pod.client())
    attached = stream(
        api.connect_get_namespaced_pod_attach, "web", "shop", stdout=True, stderr=True, _preload_content=False
    )
    with_pod.cleanup.callback(attached.close)
    attached.run_forever(timeout=10)
    assert attached.read_stdout() == "attached\n"


def connect(served: Served, path: str, protocol: str) -> websocket.WebSocket:
    url = served.url.replace("http", "ws") + path
    return websocket.create_connection(
        url, subprotocols=[protocol], header=[f"Authorization: Bearer {TOKEN}"], timeout=10
    )


def test_v5_closes_input_and_resizes_terminals(with_pod: Served) -> None:
    ws = connect(with_pod, f"{EXEC}?command=cat&stdin=1&stdout=1", "v5.channel.k8s.io")
    assert ws.getsubprotocol() == "v5.channel.k8s.io"
    ws.send_binary(b"\x04" + json.dumps({"Width": 120, "Height": 40}).encode())
    ws.send_binary(b"\x04nonsense")
    ws.send_binary(b"\x00all of it")
    ws.send_binary(b"\xff\x00")
    assert [ws.recv(), ws.recv()] == [b"\x01", b"\x01all of it"]
    outcome = ws.recv()
    assert outcome[:1] == b"\x03"
    assert json.loads(outcome[1:]) == {"metadata": {}, "status": "Success"}
    assert with_pod.kubelet.started[0].size == (120, 40)
    ws.close()


def test_a_failure_is_a_status_on_the_error_channel(with_pod: Served) -> None:
    ws = connect(with_pod, f"{EXEC}?command=false&stdout=1", "v4.channel.k8s.io")
    assert ws.recv() == b"\x01"
    status = json.loads(ws.recv()[1:])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "1"}]
    ws.close()


def test_unknown_protocols_are_refused(with_pod: Served) -> None:
    for path, protocol in (
        (f"{EXEC}?command=true&stdout=1", "v1"),
        (EXEC.replace("exec", "portforward?ports=80"), "v5.channel.k8s.io"),
    ):
        with pytest.raises(websocket.WebSocketBadStatusException, match="WebSocket protocols"):
            connect(with_pod, path, protocol)


def forward(served: Served, *ports: int) -> Any:
    api = client.CoreV1Api(served.client())
    forwarded = portforward(
        api.connect_get_namespaced_pod_portforward, "web", "shop", ports=",".join(str(port) for port in ports)
    )
    served.cleanup.callback(forwarded.close)
    return forwarded


def test_port_forward_carries_bytes_both_ways(with_pod: Served, echo: int) -> None:
    forwarded = forward(with_pod, echo)
    with closing(forwarded.socket(echo)) as local:
        local.setblocking(True)
        local.settimeout(10)
        local.sendall(b"hello")
        assert local.recv(100) == b"hello"
        local.sendall(b"bye")
        assert local.recv(100) == b"bye"
        assert local.recv(100) == b""
    assert forwarded.error(echo) is None


def test_port_forward_carries_much(with_pod: Served, echo: int) -> None:
    forwarded = forward(with_pod, echo)
    sent = b"0123456789abcdef" * 200_000
    with closing(forwarded.socket(echo)) as local:
        local.setblocking(True)
        local.settimeout(20)
        sender = threading.Thread(target=local.sendall, args=(sent,), daemon=True)
        sender.start()
        got = bytearray()
        while len(got) < len(sent):
            chunk = local.recv(1 << 20)
            assert chunk, f"the forward ended after {len(got)} of {len(sent)} bytes"
            got += chunk
        sender.join(10)
    assert bytes(got) == sent


def test_a_port_that_refuses_is_an_error_of_its_own(with_pod: Served, echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = listening.getsockname()[1]
    forwarded = forward(with_pod, closed, echo)
    until(lambda: forwarded.error(closed) is not None, "the error")
    assert f"error forwarding port {closed} to pod web" in forwarded.error(closed)
    assert "Connection refused" in forwarded.error(closed)
    with closing(forwarded.socket(echo)) as local:
        local.settimeout(10)
        local.sendall(b"still here")
        assert local.recv(100) == b"still here"


def test_logs_are_read_by_line_and_age(with_pod: Served) -> None:
    lines = with_pod.kubelet.lines
    for number, age in ((1, 100), (2, 10), (3, 0)):
        lines.write(f"line {number}", age)
    api = client.CoreV1Api(with_pod.client())
    assert api.read_namespaced_pod_log("web", "shop") == "line 1\nline 2\nline 3\n"
    assert api.read_namespaced_pod_log("web", "shop", tail_lines=2) == "line 2\nline 3\n"
    assert api.read_namespaced_pod_log("web", "shop", tail_lines=0) == ""
    assert api.read_namespaced_pod_log("web", "shop", since_seconds=50) == "line 2\nline 3\n"
    assert api.read_namespaced_pod_log("web", "shop", limit_bytes=4) == "line"
    stamped = api.read_namespaced_pod_log("web", "shop", timestamps=True, tail_lines=1)
    assert stamped.endswith("Z line 3\n")


def test_logs_that_are_not_there_are_refused(with_pod: Served) -> None:
    api = client.CoreV1Api(with_pod.client())
    for name, options, named in (
        ("web", {"previous": True}, "previous terminated container"),
        ("two", {"container": "side"}, "is waiting to start"),
        ("two", {}, "a container name must be specified"),
    ):
        with pytest.raises(ApiException) as refused:
            api.read_namespaced_pod_log(name, "shop", **options)
        assert (refused.value.status, named in str(refused.value.body)) == (400, True)


def test_logs_are_followed_to_the_containers_end(with_pod: Served) -> None:
    lines = with_pod.kubelet.lines
    lines.write("before")
    lines.write("last before")
    api = client.CoreV1Api(with_pod.client())
    response = api.read_namespaced_pod_log("web", "shop", follow=True, tail_lines=1, _preload_content=False)
    read = response.stream(decode_content=False)
    assert next(read) == b"last before\n"
    lines.write("after")
    assert next(read) == b"after\n"
    lines.end()
    assert list(read) == []
