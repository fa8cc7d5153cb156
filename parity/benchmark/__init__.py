"""How fast a source is: `python -m parity.benchmark`."""
