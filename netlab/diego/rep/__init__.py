"""The rep: runs the app containers of one cell."""
