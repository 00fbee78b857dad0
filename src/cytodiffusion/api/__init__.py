"""The public face: the functions of ``import cytodiffusion as cd``, documented in full.

Each gathers its arguments and calls the engine. Imports are inside the functions, so that looking
at one of them costs nothing.
"""
