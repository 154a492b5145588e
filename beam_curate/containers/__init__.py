"""What the container of a video says: tracks, colours, time stamps, and whose fault an error is."""
