"""The suite that users run: claims about the lateral paths of a cluster, each a test."""
