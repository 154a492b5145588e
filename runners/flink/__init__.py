"""Flink: the runner, the REST interface of a cluster, and a Helm chart for Kubernetes (docs/kubernetes.md)."""

from pathlib import Path

CHART = Path(__file__).with_name("chart")
"""The folder of the Helm chart."""
