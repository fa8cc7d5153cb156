"""The comparison as one page that opens anywhere."""
