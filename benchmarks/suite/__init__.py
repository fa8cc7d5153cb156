"""Every engine side by side: `python -m benchmarks.suite`."""
