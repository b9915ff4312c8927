"""The arguments of every command: read here, acted upon elsewhere."""
