"""Any number of pictures into partitioned Parquet, on one machine or on a Ray cluster.

See `python -m runtime.batch --help`.
"""
