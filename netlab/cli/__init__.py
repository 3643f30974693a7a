"""What a person types: parses, calls, prints; no logic of its own."""
