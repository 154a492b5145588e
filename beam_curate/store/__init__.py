"""The output folder: its layout, stored results, what is published, and who else writes to it."""
