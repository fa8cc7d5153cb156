"""What a model file holds: `python -m runtime.info`."""
