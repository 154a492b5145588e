"""Slurm: a batch script, and the program that makes the nodes of its job a Flink cluster (docs/slurm.md)."""
