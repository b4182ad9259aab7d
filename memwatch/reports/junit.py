"""A Judgment as JUnit XML, one test case a check, by the schema of Jenkins' xUnit plugin.

GitLab shows the text of a failure, not its message, and takes a case's class for its suite.
"""

from __future__ import annotations

from typing import TextIO
from xml.etree import ElementTree as ET

from memwatch.analysis.ci_checks import FAILED, SKIPPED, UNPROVEN, Check, Judgment
from memwatch.model.profile import Profile
from memwatch.units import command_text, format_date, kib, printable

# Characters of the class that the cases are listed under.
LONGEST_COMMAND = 100

_ELEMENTS = {FAILED: "failure", UNPROVEN: "error", SKIPPED: "skipped"}


def write(judgment: Judgment, out: TextIO) -> None:
    """Writes the document. Unknown properties are left out."""
    profile = judgment.profile
    command = command_text(profile.command)[:LONGEST_COMMAND]
    counts = {
        "tests": str(len(judgment.checks)),
        "failures": str(len(judgment.of(FAILED))),
        "errors": str(len(judgment.of(UNPROVEN))),
        "time": f"{profile.duration:.3f}",
    }
    suites = ET.Element("testsuites", {"name": "memwatch", **counts})
    date = format_date(profile.clock.realtime_at(profile.start))
    skipped, timestamp = str(len(judgment.of(SKIPPED))), date.partition(".")[0]
    suite = ET.SubElement(
        suites,
        "testsuite",
        {"name": command, **counts, "skipped": skipped, "timestamp": timestamp},
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(profile).items():
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for check in judgment.checks:
        case = ET.SubElement(
            suite,
            "testcase",
            {"classname": f"memwatch {command}", "name": printable(check.name), "time": "0"},
        )
        _describe(check, case, judgment)
    ET.indent(suites)
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    out.write(ET.tostring(suites, encoding="unicode") + "\n")


def _describe(check: Check, case: ET.Element, judgment: Judgment) -> None:
    finding = printable(check.sentence)
    name = _ELEMENTS.get(check.outcome)
    if name is None:
        ET.SubElement(case, "system-out").text = finding
        return
    element = ET.SubElement(case, name, {"message": finding})
    if name != "skipped":
        element.set("type", check.breach)
        element.text = "\n".join((finding, *map(printable, judgment.notes)))


def _properties(profile: Profile) -> dict[str, str]:
    sizes = {
        "max_total_rss_kib": profile.total_rss.size,
        "max_total_pss_kib": profile.total_pss.comparable,
        "max_total_footprint_kib": profile.total_footprint.size,
        "max_per_process_rss_kib": profile.process_rss.size,
    }
    found = {name: str(kib(size)) for name, size in sizes.items() if size is not None}
    if profile.exit_code is not None:
        found["exit_code"] = str(profile.exit_code)
    return found
