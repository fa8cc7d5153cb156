"""What this machine has, what it lacks, and what mends it. Needs the standard library alone."""
