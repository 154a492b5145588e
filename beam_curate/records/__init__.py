"""What workers write of each video and publish."""
