"""Everything side by side: `python -m parity.benchmark --suite`.

plan (which rows, and what is missing) -> crew (a process a row, one working at a time) -> measure
(one model) -> parity.report.suite (record), .suite_text and .suite_plot.
"""
