"""The command line. `vision-attn COMMAND --help` explains each command.

To add a command, write a function like `add_evaluate` in `arguments` and name it in `COMMANDS`.
"""

import argparse
import sys
from collections.abc import Sequence

from vision_attn.arguments.caption import add_caption
from vision_attn.arguments.compare import add_compare
from vision_attn.arguments.data import add_data
from vision_attn.arguments.evaluate import add_evaluate
from vision_attn.arguments.explain import add_explain
from vision_attn.arguments.export import add_export
from vision_attn.arguments.glimpses import add_glimpses
from vision_attn.arguments.predict import add_predict
from vision_attn.arguments.probe import add_probe
from vision_attn.arguments.study import add_study
from vision_attn.engine.memory import keep_freed_memory
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
    chosen, late = parser.parse_known_args(arguments)
    if late and not _take(late, chosen):
        parser.error(f"unrecognized arguments: {' '.join(late)}")
    run = vars(chosen).pop("run_command")
    keep_freed_memory()
    try:
        run(chosen)
    except (ValueError, OSError, FloatingPointError) as error:
        if not foreseen(error):
            raise
        print(error, file=sys.stderr)
        return 2
    return 0


def _take(late: list[str], chosen: argparse.Namespace) -> bool:
    """Take words that follow options, which argparse leaves over where none came before them."""
    for name in ("data", "overrides", "sources"):
        words = getattr(chosen, name, None)
        if isinstance(words, list) and not any(word.startswith("-") for word in late):
            setattr(chosen, name, words + late)
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
