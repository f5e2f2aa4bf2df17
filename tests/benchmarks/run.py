"""Run every benchmark of this folder, each in a process of its own, and keep its table: what `make bench` does."""

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    worst = 0
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"== {script.stem}", flush=True)
        target = arguments.out / f"{script.stem.removeprefix('bench_')}.json"
        worst = max(worst, subprocess.run([sys.executable, str(script), "--out", str(target)], check=False).returncode)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
