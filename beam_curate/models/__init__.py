"""Models: the catalog, how they are loaded onto a device, and the slot that holds one at a time."""
