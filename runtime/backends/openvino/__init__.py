"""OpenVINO, on the processors and devices it finds."""
