"""Weights by the names and shapes that other libraries give them, read and written."""
