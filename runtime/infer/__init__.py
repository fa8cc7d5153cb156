"""Landmarks of pictures and videos: `python -m runtime.infer`."""
