"""The packaged manifests: Sock Shop and its topology, the attackers' pods, and the policy sets."""
