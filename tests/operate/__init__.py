"""What an operator does: back up, restore, upgrade, trace."""
