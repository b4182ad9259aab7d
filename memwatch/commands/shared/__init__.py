"""What the subcommands share (options, files, reports, the terminal), and the parts of `run`."""
