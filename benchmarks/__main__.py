"""`make bench`: run every benchmark, or those named (`make bench ARGS="n4 n9"`), one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    here = Path(__file__).parent
    wanted = sys.argv[1:]
    modules = sorted(here.glob("n[0-9]*_*.py"), key=lambda path: (int(path.stem[1:].split("_")[0]), path.stem))
    chosen = [path for path in modules if not wanted or path.stem.split("_")[0] in wanted or path.stem in wanted]
    if not chosen:
        print(f"no such benchmark; there are {', '.join(path.stem for path in modules)}", file=sys.stderr)
        return 2
    failed = 0
    for path in chosen:
        print(f"== {path.stem}", flush=True)
        failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{path.stem}"], cwd=here.parent).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
