"""What a run counts while it works, and how the terminal shows it."""
