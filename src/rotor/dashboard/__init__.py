"""The dashboard: runs as they happen, in a browser, drawn by the server."""
