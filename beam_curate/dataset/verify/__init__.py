"""Checks every item of a dataset before a trainer reads it."""
