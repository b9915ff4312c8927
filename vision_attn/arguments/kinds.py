"""Kinds of arguments that several commands take."""

import argparse


def names(text: str) -> list[str]:
    """Read comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """Read a positive whole number."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be positive, got {number}")
    return number
