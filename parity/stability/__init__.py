"""How much points jitter on a still or moving face: `python -m parity.stability`."""
