#!/usr/bin/env python3
"""Runs the official MCP conformance suite against a server that is up, and demands more of it than the suite does.

Usage: peers/conformance/run.py URL [-o DIR] [--modules DIR] [--only-2026] [--write-golden]

Three runs: every scenario of 2025-11-25, every one of 2026-07-28, and the pending ones, which hold the extensions. Alone the
suite ends well when checks warn or are skipped, when it could reach nothing to check, and when a scenario is gone. Here every
check must succeed, and those that do must be the ones in `golden.json`, as often as there. `--write-golden` writes that list
anew, after a run with no other fault. URL must be on loopback, or the suite does not test what protects a browser's user.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent.parent / "target"
GOLDEN = HERE / "golden.json"
# A scenario has 30 s at most; a run in which all of them hang is cut off before that adds up.
ONE_RUN_SECONDS = 600

SUITES = {
    "2025-11-25": ["--suite", "all", "--spec-version", "2025-11-25"],
    "2026-07-28": ["--suite", "all", "--spec-version", "2026-07-28"],
    "pending": ["--suite", "pending"],
}

# Checks of the suite that need no verdict: (scenario, check id) and why. Any other one that is skipped, or only tells that it
# did not apply, is a fault.
WITHOUT_VERDICT = {
    ("tasks-status-notifications", "tasks-status-notifications"): "the suite sends nothing until it reads subscriptions/listen",
    # It gets a verdict only when one of three `tools/list` at a time is answered with a stream. All clients that take both would have
    # to pay for that: nothing in those requests tells them from any other.
    ("server-sse-multiple-streams", "server-sse-streams-functional"): "plain lists are answered with JSON, which the suite allows",
}
# Not checks: the suite's own log of a scenario, among its checks.
LOGGED = {"outgoing-request", "incoming-response", "incoming-sse-event", "stream-closed"}

FOLDER = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z")
TOTAL = re.compile(r"^Total: (\d+) passed, (\d+) failed$", re.MULTILINE)
COUNTED = ("SUCCESS", "FAILURE", "WARNING", "SKIPPED")
LONGEST_FAULT = 600


def main():
    options = parse_arguments()
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    runs = [run_suite(options, suite) for suite in suites(options)]
    clean = not any(faults for run in runs for _, faults in outcomes(run))
    if options.write_golden and clean:
        golden |= {run.suite: run.succeeded() for run in runs}
        write_golden(golden)
    elif options.write_golden:
        print(f"{GOLDEN.name} stays as it was: only a run without faults may write it")
    else:
        for run in runs:
            compare(run, golden.get(run.suite))
    sys.exit(report(runs))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", metavar="URL", help="the MCP endpoint of the fixture server, on loopback")
    parser.add_argument("-o", "--output", type=Path, default=TARGET / "conformance", metavar="DIR", help="where the results go")
    parser.add_argument(
        "--modules",
        type=Path,
        default=TARGET / "peers/conformance",
        metavar="DIR",
        help="where the lock file beside this program is installed",
    )
    parser.add_argument("--only-2026", action="store_true", help="only the run of 2026-07-28")
    parser.add_argument("--write-golden", action="store_true", help="make what succeeds now the list to compare with")
    return parser.parse_args()


def suites(options):
    return ["2026-07-28"] if options.only_2026 else list(SUITES)


# ---- what is run ----


@dataclass
class Run:
    """What one run of the suite left behind. The faults of the run as a whole are apart from those of its scenarios."""

    suite: str
    checks: dict = field(default_factory=dict)
    faults: dict = field(default_factory=dict)
    run_faults: list = field(default_factory=list)

    def succeeded(self):
        """Returns the ids of the checks that succeeded, by scenario; an id that the suite uses twice is there twice."""
        return {
            scenario: sorted(check["id"] for check in checks if check["status"] == "SUCCESS")
            for scenario, checks in sorted(self.checks.items())
        }


def run_suite(options, suite):
    folder = options.output.resolve() / suite
    # Results of an earlier run must not count as results of this one.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    programs = (options.modules / "node_modules/.bin").resolve()
    command = [programs / "node", programs / "conformance", "server", "--url", options.url, *SUITES[suite], "-o", folder]
    run = Run(suite)
    log = folder / "suite.log"
    try:
        with log.open("wb") as output:
            done = subprocess.run(
                command,
                # The suite starts other programs by name; they need the same Node.
                env={**os.environ, "PATH": f"{programs}:{os.environ.get('PATH', '')}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=ONE_RUN_SECONDS,
            )
    except subprocess.TimeoutExpired:
        run.run_faults.append(f"the suite did not end within {ONE_RUN_SECONDS} s; see {log}")
        return run
    except OSError as error:
        run.run_faults.append(f"cannot start the suite: {error}; run scripts/lib/peers-setup, or name its folder with --modules")
        return run
    collect(run, folder)
    run.run_faults += suite_faults(run, done.returncode, log.read_text(errors="replace"))
    return run


def collect(run, folder):
    for entry in sorted(folder.iterdir()):
        if not (match := FOLDER.fullmatch(entry.name)):
            continue
        scenario = match["scenario"]
        try:
            run.checks[scenario] = json.loads((entry / "checks.json").read_text())
            run.faults[scenario] = list(check_faults(scenario, run.checks[scenario]))
        except (OSError, ValueError) as error:
            run.checks[scenario] = []
            run.faults[scenario] = [f"has no readable checks.json, so it broke off: {error}"]


# ---- what must come of it ----


def check_faults(scenario, checks):
    for check in checks:
        status, name = check["status"], check["id"]
        if status in ("FAILURE", "WARNING"):
            yield f"{status} {name}: {one_line(check.get('errorMessage') or check.get('description'))}"
        elif status != "SUCCESS" and name not in LOGGED and (scenario, name) not in WITHOUT_VERDICT:
            yield f"{status} {name}: {one_line(check.get('errorMessage') or check.get('details'))}"


def suite_faults(run, code, log):
    """Tells what is wrong with the run as a whole: it must have ended regularly, and have counted what is counted here."""
    totals = TOTAL.findall(log)
    if len(totals) != 1:
        yield f"the suite ended with exit code {code} and without its totals: {one_line(log[-LONGEST_FAULT:])}"
        return
    counts = count(run.checks.values())
    ours = (str(counts["SUCCESS"]), str(counts["FAILURE"]))
    if totals[0] != ours:
        yield f"the suite counts {' passed, '.join(totals[0])} failed, its files hold {' passed, '.join(ours)} failed"
    if code not in (0, 1) or (code == 1 and counts["FAILURE"] == 0):
        yield f"the suite ended with exit code {code}"


def compare(run, golden):
    """Adds a fault wherever the checks that succeeded are not those of the golden list."""
    if run.run_faults:
        return
    if golden is None:
        run.run_faults.append(f"{GOLDEN.name} has no list of this run; a run without faults writes it with --write-golden")
        return
    succeeded = run.succeeded()
    for scenario in sorted(golden.keys() | succeeded.keys()):
        faults = run.faults.setdefault(scenario, [])
        if scenario not in succeeded:
            run.checks[scenario] = []
            faults.append("did not run")
        elif scenario not in golden:
            faults.append(f"is not in {GOLDEN.name}")
        else:
            faults += differences(Counter(golden[scenario]), Counter(succeeded[scenario]))


def differences(expected, found):
    for name in sorted(expected.keys() | found.keys()):
        if expected[name] != found[name]:
            yield f"succeeded {found[name]} times and not {expected[name]}: {name}"


def write_golden(golden):
    GOLDEN.write_text(json.dumps({suite: golden[suite] for suite in SUITES if suite in golden}, indent=2) + "\n")
    print(f"{GOLDEN} is written")


# ---- the report ----


def outcomes(run):
    """Yields the title and the faults of everything that can go wrong in a run."""
    if run.run_faults or not run.checks:
        yield f"{run.suite} as a whole", run.run_faults or ["no scenario ran"]
    for scenario, checks in sorted(run.checks.items()):
        yield f"{run.suite:<11} {scenario:<46} {in_words(count([checks]))}", run.faults[scenario]


def report(runs):
    passed = failed = 0
    for run in runs:
        for title, faults in outcomes(run):
            print(f"{'FAIL' if faults else 'ok  '}  {title}")
            for fault in faults:
                print(f"      {fault}")
            passed, failed = passed + (not faults), failed + bool(faults)
    for run in runs:
        print(f"{run.suite}: {len(run.checks)} scenarios; checks: {in_words(count(run.checks.values()))}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def count(lists):
    return Counter(check["status"] for checks in lists for check in checks if check["status"] in COUNTED)


def in_words(counts):
    # Not in the words of the last line, which others count.
    return ", ".join(f"{counts[status]} {status.lower()}" for status in COUNTED if counts[status] or status == "SUCCESS")


def one_line(text):
    line = " ".join((text if isinstance(text, str) else json.dumps(text)).split())
    return line if len(line) <= LONGEST_FAULT else f"{line[:LONGEST_FAULT]} ..."


if __name__ == "__main__":
    main()
