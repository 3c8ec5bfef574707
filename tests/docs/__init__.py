"""What runs the examples of the documentation: a server, a stage for each page, and one way to run each kind of block."""
