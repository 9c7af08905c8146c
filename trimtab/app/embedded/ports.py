"""Free ports on the loopback, for servers that take a second port at a fixed distance."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

# SeaweedFS listens for gRPC on port + 10000.
GRPC_OFFSET = 10_000
# Both a port and its partner stay below 32768, where Linux starts to hand out ports of outgoing connections.
LOWEST, HIGHEST = 12_000, 22_700
LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could bind the port on the loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: connections of a former server that still linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_free_pair(port: int) -> bool:
    """Whether the port and its gRPC partner are both free."""
    return is_free(port) and is_free(port + GRPC_OFFSET)


def free_ports(names: Collection[str], remembered: dict[str, int] | None = None) -> dict[str, int]:
    """
    A free port a name, each with its partner free too; a remembered one is kept while it is free.

    Another process may take a port between this look and its use: whoever starts a server tries again with others.

    Raises:
        OSError: If a thousand random ports were all taken.
    """
    found: dict[str, int] = {}
    chance = random.SystemRandom()
    for name in names:
        candidates = [(remembered or {}).get(name, 0)] + [chance.randint(LOWEST, HIGHEST) for _ in range(1000)]
        for port in candidates:
            if LOWEST <= port <= HIGHEST and port not in found.values() and is_free_pair(port):
                found[name] = port
                break
        else:
            raise OSError(f"found no free port between {LOWEST} and {HIGHEST} on {LOOPBACK}")
    return found
