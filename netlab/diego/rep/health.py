"""Whether something in a container answers: connections from inside its namespace, so no rule redirects them."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

from netlab.diego.rep.recipe import HttpCheck, TcpCheck
from netlab.kernel import netns

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.1


async def until_healthy(namespace: Path, address: str, check: HttpCheck | TcpCheck) -> None:
    """Return once the check passes; the caller sets the deadline."""
    pause = FIRST_PAUSE
    while await failure(namespace, address, check) is not None:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def until_unhealthy(namespace: Path, address: str, check: HttpCheck | TcpCheck) -> str:
    """Check at the check's interval; return why, once it does not pass."""
    while True:
        await asyncio.sleep(check.interval)
        reason = await failure(namespace, address, check)
        if reason is not None:
            return reason


async def failure(namespace: Path, address: str, check: HttpCheck | TcpCheck) -> str | None:
    """Why a check does not pass, in Diego's words; None if it does."""
    begun = time.monotonic()
    if isinstance(check, HttpCheck):
        what = f"failed to make HTTP request to '{check.path}' on port {check.port}"
    else:
        what = f"failed to make TCP connection to {address}:{check.port}"
    # Only the socket is made inside; where it connects from is settled with that.
    with netns.entered(namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(check.timeout):
            await asyncio.get_running_loop().sock_connect(sock, (address, check.port))
            status = await _get(sock, check) if isinstance(check, HttpCheck) else "200"
    except TimeoutError:
        return f"{what}: timed out after {check.timeout:.2f} seconds"
    except OSError as error:
        return f"{what}: {(error.strerror or str(error)).lower()}"
    finally:
        sock.close()
    if status == "200":
        return None
    milliseconds = 1000 * (time.monotonic() - begun)
    return f"{what}: received status code {status} in {milliseconds:.0f}ms"


async def _get(sock: socket.socket, check: HttpCheck) -> str:
    """The status of the answer; raises OSError if there is none."""
    loop = asyncio.get_running_loop()
    request = (
        f"GET {check.path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: diego-healthcheck\r\nConnection: close\r\n\r\n"
    )
    await loop.sock_sendall(sock, request.encode())
    head = b""
    while len(head) < 12:
        data = await loop.sock_recv(sock, 1024)
        if not data:
            raise ConnectionResetError("the connection was closed without an answer")
        head += data
    return head[9:12].decode("latin-1")
