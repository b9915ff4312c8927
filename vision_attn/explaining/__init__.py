"""The explain command: networks by name, images from anywhere, maps to a folder."""
