"""The BBS: Diego's database of desired and actual LRPs."""
