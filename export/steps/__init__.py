"""The steps of an export, each skipped where its inputs have not changed."""
