"""The offline kit for a closed network: `python -m export.kit`."""
