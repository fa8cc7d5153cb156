"""Many pictures at once: found, read ahead, run, and written row by row. See `runtime.infer`."""
