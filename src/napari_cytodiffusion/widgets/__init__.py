"""Dock widgets. They ask, show and forward; the engine computes."""
