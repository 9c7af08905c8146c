"""The router on one machine: Envoy, told by files, asked over its admin socket, measured by its access log."""
