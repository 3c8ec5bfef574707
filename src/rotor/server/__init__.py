"""The hall: the one place where the parts of a server are joined."""
