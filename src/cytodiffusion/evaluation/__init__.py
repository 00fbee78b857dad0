"""Measuring how well, and how honestly, a model classifies."""
