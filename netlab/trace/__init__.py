"""`netlab trace`: one request, every hop, proven."""
