"""The command line. `vision-attn COMMAND --help` explains each command.

To add a command, write a function like `add_evaluate` in `arguments` and name it in `COMMANDS`.
"""

import argparse
import sys
from collections.abc import Sequence

from vision_attn.arguments.giving import add_export
from vision_attn.arguments.judging import add_compare, add_data, add_evaluate, add_probe
from vision_attn.arguments.looking import (
    add_caption,
    add_explain,
    add_glimpses,
    add_predict,
)
from vision_attn.arguments.studying import add_study
from vision_attn.rules import foreseen

COMMANDS = (
    add_caption,
    add_evaluate,
    add_compare,
    add_data,
    add_explain,
    add_predict,
    add_glimpses,
    add_probe,
    add_export,
    add_study,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 2 for what the user can mend, told in one line."""
    parser = argparse.ArgumentParser(
        prog="vision-attn", description="Train with train.py; look, measure and report with these."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    chosen = parser.parse_args(arguments)
    run = vars(chosen).pop("run_command")
    try:
        run(chosen)
    except (ValueError, OSError, FloatingPointError) as error:
        if not foreseen(error):
            raise
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
