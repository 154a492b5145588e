"""Filters: each scores clips and says which scores are too low, or too high, to train on."""
