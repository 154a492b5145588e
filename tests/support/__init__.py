"""What several tests use: footage, models, servers, and ways to run the program."""
