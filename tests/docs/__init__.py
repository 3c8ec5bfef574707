"""Runs the examples of the documentation: a server, a stage for each page, and a way to run each kind of block."""
