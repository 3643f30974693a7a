"""The only code that talks to the kernel: namespaces, links, iptables, conntrack, cgroups, capture sockets."""
