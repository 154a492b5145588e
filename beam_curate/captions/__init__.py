"""Caption windows, prompts and the captioners."""
