"""``python -m tests.benchmarks``: measure, print the table, and write it where it is wanted."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import chart, report
from .child import ROOT
from .data import Corpus, Sizes
from .measure import Outcome, Scratch, interleave
from .ours import threads
from .rows import OURS, ROWS, Row, Stage

# What the extra `fast` installs.
FAST = ("isal", "isal.isal_zlib", "zlib_ng", "zlib_ng.zlib_ng")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows asked for; 1 if ``--check`` was given and something is not reached."""
    options = _options(arguments)
    if options.list:
        print(*(row.name for row in ROWS), sep="\n")
        return 0
    if options.without_fast:
        sys.modules.update(dict.fromkeys(FAST))  # type: ignore[arg-type]  # None: cannot be imported
    with tempfile.TemporaryDirectory(prefix="seriesio-bench-", dir=options.scratch) as scratch:
        outcomes = _measure(options, Path(scratch))
    table = [line for row, outcome in outcomes.items() for line in report.lines(row, outcome)]
    _publish(options, outcomes, table)
    reached = all(line.holds or line.aim or not line.must_reach for line in table)
    return 0 if reached or not options.check else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    names = [row.name for row in ROWS]
    add("--row", action="append", choices=names, metavar="NAME", help="this row only; repeatable")
    add("--list", action="store_true", help="print the names of the rows")
    add("--repeat", type=int, default=5, metavar="N", help="runs of each contender (5)")
    add("--quick", action="store_true", help="a fifth of the data")
    add("--json", type=Path, metavar="FILE", help="write every figure of every run")
    add("--resume", type=Path, metavar="FILE", help="measure no row that is there; add the others")
    add("--write-docs", action="store_true", help="make the page and chart of these rows")
    add("--check", action="store_true", help="exit status 1 if something is not reached")
    add("--data", type=Path, metavar="DIR", help="keep the series there, and use them again")
    add("--scratch", type=Path, metavar="DIR", help="where everything else is written")
    add("--intercept", type=int, default=-1024, metavar="HU", help="rescale intercept of the CT")
    add("--without-fast", action="store_true", help="hide the packages of the extra `fast`")
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error("--repeat must be positive")
    if options.write_docs and options.quick:
        parser.error("--write-docs needs rows in full size")
    return options


def _measure(options: argparse.Namespace, scratch: Path) -> dict[Row, Outcome]:
    # Where the series are kept, also for the rows that have a process of their own.
    options.data = options.data or scratch / "data"
    sizes = Sizes.quick() if options.quick else Sizes()
    corpus = Corpus(options.data, sizes, options.intercept)
    stage = Stage(corpus, Scratch(scratch / "written"), threads())
    known = _known(options.resume)
    outcomes = {}
    for row in ROWS:
        if row.name not in (options.row or [row.name]):
            continue
        if row.name not in known:
            print(f"measuring {row.name}", file=sys.stderr)
            known[row.name] = _outcome(row, stage, options, scratch).plain()
            if options.resume:
                options.resume.write_text(json.dumps(known))
        outcomes[row] = Outcome.from_plain(known[row.name])
    return outcomes


def _known(file: Path | None) -> dict[str, Any]:
    """What was measured before, by row."""
    known: dict[str, Any] = json.loads(file.read_text()) if file and file.exists() else {}
    return known


def _outcome(row: Row, stage: Stage, options: argparse.Namespace, scratch: Path) -> Outcome:
    if row.plain and not options.without_fast and _fast_installed():
        return _outcome_without_fast(row, options, scratch)
    return interleave(row.contenders(stage), options.repeat)


def _fast_installed() -> bool:
    return any(find_spec(name) for name in FAST if "." not in name)


def _outcome_without_fast(row: Row, options: argparse.Namespace, scratch: Path) -> Outcome:
    """A row in an interpreter that never saw the fast packages."""
    file = scratch / f"{row.name}.json"
    command = [sys.executable, "-m", __package__, "--without-fast", "--row", row.name]
    command += ["--repeat", str(options.repeat), "--intercept", str(options.intercept)]
    command += ["--json", str(file), "--data", str(options.data.resolve())]
    command += ["--quick"] if options.quick else []
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        return Outcome({}, {OURS: f"ended with status {done.returncode}"})
    return Outcome.from_plain(json.loads(file.read_text())["rows"][row.name])


def _publish(
    options: argparse.Namespace, outcomes: Mapping[Row, Outcome], table: Sequence[report.Line]
) -> None:
    print(report.machine(), *report.text(table), sep="\n")
    for row, outcome in outcomes.items():
        for name, reason in outcome.failures.items():
            print(f"{row.name}: {name}: {reason}")
    if options.json:
        rows = {row.name: outcome.plain() for row, outcome in outcomes.items()}
        options.json.write_text(json.dumps({**report.plain(table), "rows": rows}, indent=1))
    if options.write_docs:
        page = report.markdown(table, Sizes(), _runs(outcomes))
        (ROOT / "docs" / "benchmarks.md").write_text(page)
        chart.draw(ROOT / "docs" / "images" / "benchmarks.svg", outcomes)


def _runs(outcomes: Mapping[Row, Outcome]) -> int:
    """How many runs the row with the fewest has."""
    samples = [one for outcome in outcomes.values() for one in outcome.samples.values()]
    return min((len(one.runs) for one in samples), default=0)


if __name__ == "__main__":
    sys.exit(main())
