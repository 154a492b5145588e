"""Google Cloud Dataflow: the runner, what it checks, its machines, and what they cost."""
