"""Counterfactuals: what would have to change for a cell to be of another class."""
