"""The development server and its parts, as real processes."""
