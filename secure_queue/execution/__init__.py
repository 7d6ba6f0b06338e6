"""The parts that run tasks."""
