"""Flink: the runner, and the REST interface of a cluster."""
