"""Weights of models: download, copies for workers, checks."""
