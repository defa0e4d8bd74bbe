"""Measuring workflows: configurations of one are run on a dataset's items, and scored."""
