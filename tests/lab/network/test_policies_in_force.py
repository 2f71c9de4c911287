"""What NetworkPolicies do to real packets."""

from __future__ import annotations

from tests.lab.network.node import in_namespaces, node, reaches


def test_smoke() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", {"app": "web"}, listens=[("TCP", 80), ("UDP", 80)])
            client = lab.pod("client", {"app": "client"})
            await lab.settled()
            assert await reaches(client, web)
            assert await reaches(client, web, protocol="UDP")
            lab.policy("deny", {"podSelector": {}})
            await lab.settled()
            assert not await reaches(client, web)
            lab.policy(
                "deny",
                {
                    "podSelector": {"matchLabels": {"app": "web"}},
                    "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}],
                },
            )
            await lab.settled()
            assert await reaches(client, web)
            assert not await reaches(client, web, protocol="UDP")

    in_namespaces(scenario)
