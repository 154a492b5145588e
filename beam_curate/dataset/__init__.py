"""The Cosmos-Predict2 dataset: its rules, its files, publishing its items, and verifying it."""
