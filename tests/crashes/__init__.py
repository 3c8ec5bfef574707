"""Real processes are killed, stopped and cut off from each other: nothing recorded changes, and all work goes on."""
