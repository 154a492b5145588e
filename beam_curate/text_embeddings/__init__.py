"""T5 embeddings of captions."""
