"""The lab's DNS server."""
