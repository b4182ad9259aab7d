"""`memwatch report`: makes the reports of a run again, from its recording."""

from __future__ import annotations

from typing import Any

import click

from memwatch.commands.shared import options
from memwatch.commands.shared.files import is_input, load_results
from memwatch.commands.shared.reporting import Reports, report_options


@click.command("report")
@report_options
@options.FILE
def command(path: str, **wanted: Any) -> int:
    """Report from FILE, a recording (`memwatch run -o FILE`) or the JSON of a run.

    The reports are those that `run` itself makes, with the same options. A
    recording that stops early, because memwatch was killed, is reported up to
    there, and what was held last comes first. The summary goes to stdout.

    \b
    Examples:
      memwatch report build.jsonl
      memwatch report build.jsonl --top all --include cc1
      memwatch report build.jsonl --group-by source --tree
      memwatch report build.jsonl.gz --json --timeline totals.csv > build.json
    """
    reports = Reports(summary_fd=1, **wanted)
    try:
        if reports.writes(path):
            raise is_input(path)
        results = load_results(
            path,
            timeline=reports.needs_timeline,
            group_by=reports.group_by,
            observers=reports.observers,
        )
        profile = results.profile
        if reports.needs_samples and not results.has_samples:
            raise click.ClickException(
                f"{path!r} has no samples of single processes, which --leaks needs: give a "
                "recording (memwatch run -o)"
            )
        if reports.needs_timeline and profile.timeline is None:
            raise click.ClickException(
                f"{path!r} has no timeline: give a recording, or JSON of run --json --timeline"
            )
    except click.ClickException:
        reports.abandon()
        raise
    code = 0 if reports.write(profile, has_samples=results.has_samples) else 1
    return reports.leak_code or code
