"""A bare FastAPI route that returns a constant: what the server and the framework cost by themselves.

    python -m benchmarks.bare_route --port 8399 --bytes 9000

Guarantees:
- The server and the settings of `scv serve`, without scv: no key, no look-up, no audit, no log line.
"""

from __future__ import annotations

import argparse

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bare_route", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True, help="of each answer")
    arguments = parser.parse_args()
    app, body = FastAPI(), b'"%s"' % (b"x" * (arguments.bytes - 2))

    @app.post("/v1/profiles:lookup")
    async def constant() -> Response:
        return Response(body, media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=arguments.port, access_log=False, log_config=None)


if __name__ == "__main__":
    main()
