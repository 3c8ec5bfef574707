"""The command line: each command a file, each error one sentence, each exit code with a meaning."""
