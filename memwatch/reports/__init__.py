"""Reports for people and programs: summary, CSV, comparison, plan, repeats, doctor, CI."""
