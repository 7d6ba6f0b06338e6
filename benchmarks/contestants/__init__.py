"""One file per library; each runs in an environment that has that library and not its rivals."""
