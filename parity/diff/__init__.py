"""What differs between two bundles or recordings: `python -m parity.diff`."""
