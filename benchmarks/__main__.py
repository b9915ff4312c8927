"""Run every benchmark: python -m benchmarks [vit explain ...]."""

import importlib
import sys

from vision_attn.engine.memory import keep_freed_memory

ALL = ("vit", "explain", "caption", "glimpse", "scenes", "predict", "reading", "scale")

keep_freed_memory()  # as all commands do
for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"unknown benchmark {name!r}; choose from {', '.join(ALL)}")
    print(f"== {name}")
    importlib.import_module(f"benchmarks.{name}").main()
