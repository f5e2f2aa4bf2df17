"""Run every study's smoke preset, check every law, write the report: what `make reproduce` does.

Studies run several at a time, each in a process of its own; so do the laws.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from lab import cli, studies
from lab.registry import slug


def run(study: str, preset: str, out: Path) -> subprocess.CompletedProcess[str]:
    """`lab run` in a process of its own; its table and messages are kept for later."""
    folder = out / slug(study) / preset
    command = [sys.executable, "-m", "lab.cli", "run", study, "--preset", preset, "--out", str(folder)]
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results", help="folder of the results")
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="processes at a time")
    arguments = parser.parse_args()
    out, start = Path(arguments.out), time.perf_counter()
    worst, workers = 0, max(1, arguments.workers)
    with ThreadPoolExecutor(workers) as pool:
        runs = {pool.submit(run, study.id, arguments.preset, out): study.id for study in studies()}
        for done in as_completed(runs):
            seconds = time.perf_counter() - start
            print(f"-- lab run {runs[done]} --preset {arguments.preset}, {seconds:.0f} s", file=sys.stderr)
            print(done.result().stdout, flush=True)
            worst = max(worst, done.result().returncode)
    print("-- lab check --json", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "check.json").open("w") as target, contextlib.redirect_stdout(target):
        worst = max(worst, cli.main(["check", "--json", "--workers", str(workers)]))
    print("-- lab report", file=sys.stderr)
    worst = max(worst, cli.main(["report", str(out)]))
    print(f"done in {time.perf_counter() - start:.0f} s; open {out / 'index.html'} in a browser", file=sys.stderr)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
