"""Where Pilot's configuration comes from, and how several sources make one."""
