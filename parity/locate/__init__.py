"""At which stage two sources part: `python -m parity.locate`."""
