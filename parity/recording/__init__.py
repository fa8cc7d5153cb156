"""Recordings: what a source found, in one file that is compared anywhere."""
