"""Videos: files, tracking of faces, smoothing of motion."""
