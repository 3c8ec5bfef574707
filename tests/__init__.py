"""What Rotor promises, as tests: mirrored by file; each name is a claim."""
