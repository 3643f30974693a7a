"""Whether something in a container answers yet: connections from inside its namespace, so no rule redirects them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from netlab.diego.rep.recipe import HttpCheck, TcpCheck
from netlab.kernel import netns

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.1
CONNECT_TIMEOUT = 1.0


async def until_healthy(namespace: Path, address: str, check: HttpCheck | TcpCheck) -> None:
    """Return once the check passes; the caller sets the deadline."""
    pause = FIRST_PAUSE
    while not await _passes(namespace, address, check):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def _passes(namespace: Path, address: str, check: HttpCheck | TcpCheck) -> bool:
    # Only the socket is made inside; where it connects from is settled with that.
    with netns.entered(namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        limit = check.timeout if isinstance(check, HttpCheck) else CONNECT_TIMEOUT
        async with asyncio.timeout(limit):
            await asyncio.get_running_loop().sock_connect(sock, (address, check.port))
            return isinstance(check, TcpCheck) or await _get(sock, check)
    except (OSError, TimeoutError):
        return False
    finally:
        sock.close()


async def _get(sock: socket.socket, check: HttpCheck) -> bool:
    loop = asyncio.get_running_loop()
    request = (
        f"GET {check.path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: diego-healthcheck\r\nConnection: close\r\n\r\n"
    )
    await loop.sock_sendall(sock, request.encode())
    head = b""
    while len(head) < 12:
        data = await loop.sock_recv(sock, 1024)
        if not data:
            return False
        head += data
    return head[9:12] == b"200"
