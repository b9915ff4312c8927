"""The arguments of `vision-attn study`."""

import argparse
import re
import shlex
from pathlib import Path
from typing import Any


def add_study(commands: Any) -> None:
    """Offer `study FILE`: accuracy over the share of the data, from scratch and fine-tuned."""
    parser = commands.add_parser(
        "study", help="train networks on shares of a data set, and draw what more data is worth"
    )
    parser.add_argument("file", type=Path, help="study, such as configs/study_data_size.yaml")
    parser.add_argument("overrides", nargs="*", metavar="FIELD=VALUE", help="of the study")
    parser.add_argument(
        "--part",
        type=part,
        default=(1, 1),
        metavar="K/N",
        help="take every Nth training, from the Kth on, beside other calls that take the others",
    )
    parser.add_argument("--plan", action="store_true", help="tell the cost, and train nothing")

    def run(chosen: argparse.Namespace) -> None:
        from vision_attn.study.plan import read_plan

        plan = read_plan(chosen.file, *chosen.overrides)  # what is wrong is told before torch
        from vision_attn.study.running import study

        command = shlex.join(["vision-attn", "study", str(chosen.file), *chosen.overrides])
        report = study(plan, part=chosen.part, plan_only=chosen.plan, command=command)
        if report:
            print(f"report: {report}")

    parser.set_defaults(run_command=run)


def part(text: str) -> tuple[int, int]:
    """Read K/N."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise argparse.ArgumentTypeError(f"must be K/N with K from 1 to N, got {text}")
    return number, of
