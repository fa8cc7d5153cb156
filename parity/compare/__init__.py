"""Compare two sources or recordings: `python -m parity.compare`."""
