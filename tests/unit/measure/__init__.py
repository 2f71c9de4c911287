"""Tests of what deploys, probes and measures."""
