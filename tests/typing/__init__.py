"""Files that type checkers read, and the test that runs them."""
