"""The load balancer: DNAT over the healthy istio-routers, by the kernel."""
