"""Source videos in, a Cosmos-Predict fine-tuning dataset out. The domain: plain Python, no Beam."""

__version__ = "0.1.0"
