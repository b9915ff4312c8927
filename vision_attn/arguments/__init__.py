"""The arguments of every command, one file each: read here, acted upon elsewhere."""
