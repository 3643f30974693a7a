"""The auctioneer: decides which cell runs an instance."""
