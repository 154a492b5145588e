"""The Cosmos-Predict2 dataset format: its embedding files, and checks of a finished dataset."""
