"""A bundle's folder, and whether what lies there is still fresh."""
