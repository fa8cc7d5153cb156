"""Whether a bundle runs here as it did where it was made: `python -m parity.selftest`."""
