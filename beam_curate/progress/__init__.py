"""Progress of a run: worker counters, the live display, safe output to a terminal."""
