"""Checkpoint to ONNX to simplified ONNX to a judged bundle."""
