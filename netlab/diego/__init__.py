"""Diego: the auctioneer places instances on cells, a rep runs those of its cell."""
