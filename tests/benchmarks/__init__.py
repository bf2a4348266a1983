"""How fast, how lean: seriesio side by side with its peers. Run ``python -m tests.benchmarks``."""
