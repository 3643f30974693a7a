"""The xDS side of Pilot: resources on offer, what each proxy has, and the ADS server between them."""
