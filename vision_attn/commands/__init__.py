"""What the commands do, one file a command, and what several of them need."""
