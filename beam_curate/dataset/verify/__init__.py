"""Checks every item of a dataset before a trainer meets it."""
