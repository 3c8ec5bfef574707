"""Tests of `rotor.testing`."""
