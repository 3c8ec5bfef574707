"""One file a question. Each has `ask(stage)`, which measures, checks that all was right, and returns figures."""
