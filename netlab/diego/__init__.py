"""Diego: the auctioneer that places instances and the rep that runs them on a cell."""
