"""Reads and writes video with PyAV. Sources are read in child processes only, see `decoder_pool`."""
