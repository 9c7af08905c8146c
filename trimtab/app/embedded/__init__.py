"""The platform on one machine: the store, the loop and training runs as child processes, all on the loopback."""
