"""Side-by-side measurements with the neighbouring task queues: ``python -m benchmarks``, or ``make bench``."""
