"""What a run leaves for people and programs to read: records, the summary, the table at the end."""
