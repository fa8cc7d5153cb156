"""A comparison as one page: nothing beside it is needed, and nothing is fetched."""
