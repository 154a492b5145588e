"""How the pipeline is launched: checks before the first video, and the settings of each runner."""
