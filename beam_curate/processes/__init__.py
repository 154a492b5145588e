"""Other processes: starting and ending them, and signals."""
