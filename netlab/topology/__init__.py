"""The topology file: its models, loading with errors by file and line, addressing; pure but for reading the file."""
