"""Reading and writing video with PyAV. Sources are read only in child processes (see `children`)."""
