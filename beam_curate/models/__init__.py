"""Models: where their files lie, how they are loaded, and the slot that holds one at a time."""
