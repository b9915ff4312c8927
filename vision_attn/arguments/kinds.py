"""Arguments that several commands take, and their kinds."""

import argparse


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Take images: which, and how many of them."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image files, folders, quoted patterns, or one RECIPE.yaml: its test (else "
        "validation) images",
    )
    parser.add_argument("--limit", type=positive, help="take no more than the first images")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Take the device that computes."""
    parser.add_argument("--device", default="auto", help="default: an accelerator, else the CPU")


def names(text: str) -> list[str]:
    """Read comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """Read a positive whole number."""
    if not text.isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, got {text}")
    return number
