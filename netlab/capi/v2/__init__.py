"""Version 2 of the API, for clients that still speak it: the same rows and the same rules in other documents.

An app of version 2 is an app with its web process, a route mapping is a destination. Nothing is decided here:
what is allowed, and whom a change is told, is in the functions that version 3 uses too.
"""
