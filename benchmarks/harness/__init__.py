"""What every question needs: the processes, what they use, the checks, the figures."""
