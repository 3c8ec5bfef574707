"""Tests of the hall: how connections are kept."""
