"""Pure functions over profiles: compare, find leaks, plan, judge for CI."""
