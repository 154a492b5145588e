"""Model weights: downloads, copies for workers, checks."""
