"""What the pages on jobs, actors and workers of Repid promises."""
