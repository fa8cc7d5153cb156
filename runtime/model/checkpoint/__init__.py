"""Checkpoints as any trainer writes them, read without torch."""
