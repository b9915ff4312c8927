"""One training loop and what it needs: optimizer, checkpoint, run folder, ranks."""
