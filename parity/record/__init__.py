"""Record what a source finds: `python -m parity.record`."""
