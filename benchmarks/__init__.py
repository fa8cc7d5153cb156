"""Measurements of this project; no part of the wheel."""
