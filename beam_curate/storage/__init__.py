"""Files: atomic publishing, listing of inputs, remembered results."""
