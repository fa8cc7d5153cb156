"""Differences, accuracy and limits: how far two results are apart, and whether that passes."""
