"""What the kubelet's probes of a source that may dial nothing come to in a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import estate

from lateral import attacker
from lateral.foothold import Foothold
from lateral.model import SourceKind
from lateral.providers.lab import started
from lateral.reachability import link
from lateral.resources import Run
from lateral.waiting import until

END_LISTENER = "for p in /proc/[0-9]*; do read -r name < $p/comm; [ $name != perl ] || kill ${p#/proc/}; done"


def test_policies_dont_keep_the_node_out_and_a_link_that_breaks_restarts_the_container(tmp_path: Path) -> None:
    """Of a twin that all of the application's policies isolate; its container is never ready all the same."""
    found, run = estate.write(tmp_path), Run.new()
    [source] = [one for one in found.topology.sources() if (one.name, one.kind) == ("store", SourceKind.TWIN)]
    documents = attacker.documents(found.topology, run, asked=True)
    [twin] = [one for one in documents if one["metadata"]["name"] == run.own("twin-store")]
    with started() as lab:
        lab.cluster.apply([run.namespace(estate.NAME), *found.policies.documents])
        lab.cluster.apply([twin])

        def reached(restarts: int) -> dict[str, Any] | None:
            for pod in lab.cluster.list("v1", "Pod", estate.NAME):
                for one in pod["status"].get("containerStatuses", ()):
                    assert not one["ready"]
                    if one["started"] and one["restartCount"] == restarts:
                        return pod
            return None

        pod = until("the node to connect", lambda: reached(0), timeout=30)
        foothold = Foothold(source, pod)
        assert link.take(lab.cluster, [foothold], 1) == {foothold.id: ""}
        lab.cluster.exec(estate.NAME, pod["metadata"]["name"], ["sh", "-c", END_LISTENER])
        again = until("the container to be restarted", lambda: reached(1), timeout=30)
        assert again["metadata"]["uid"] == pod["metadata"]["uid"]
        [trouble] = link.take(lab.cluster, [foothold], 1).values()
        assert "ceased to reach it" in trouble
