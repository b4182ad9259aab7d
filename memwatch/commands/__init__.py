"""One module per subcommand. Each is imported only when its subcommand runs."""
