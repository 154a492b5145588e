"""What a video's container states: tracks, colours, time stamps; and the cause of an error in reading it."""
