"""How far an NPU's arithmetic moves the points: `python -m parity.rehearse`."""
