"""Run every study's smoke preset, check every law, write the report: what `make reproduce` does."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

from lab import cli, studies
from lab.registry import slug


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results", help="folder of the results")
    parser.add_argument("--preset", default="smoke")
    arguments = parser.parse_args()
    out, start = Path(arguments.out), time.perf_counter()
    worst = 0
    for study in studies():
        print(f"-- lab run {study.id} --preset {arguments.preset}", file=sys.stderr)
        folder = out / slug(study.id) / arguments.preset
        worst = max(worst, cli.main(["run", study.id, "--preset", arguments.preset, "--out", str(folder)]))
    print("-- lab check --json", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "check.json").open("w") as target, contextlib.redirect_stdout(target):
        worst = max(worst, cli.main(["check", "--json"]))
    print("-- lab report", file=sys.stderr)
    worst = max(worst, cli.main(["report", str(out)]))
    print(f"done in {time.perf_counter() - start:.0f} s; open {out / 'index.html'} in a browser", file=sys.stderr)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
