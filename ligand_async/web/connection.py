"""One HTTP request inside Quart: what its view raises stays in it, and an answer that takes too long is told of."""

import asyncio
from typing import Any

from quart import Request, Response
from quart.asgi import ASGIHTTPConnection

from ligand_async.tasks import Containment

EVENT_STREAM = "text/event-stream"


class ResponseTimedOut(Exception):
    """An answer was not sent within RESPONSE_TIMEOUT: its client is too slow, or what streams it is."""


class HTTPConnection(ASGIHTTPConnection):
    """Quart's own, which ends a slow answer in silence and lets a `SystemExit` end the server."""

    async def handle_request(self, request: Request, send: Any) -> None:
        """Serve one request.

        Raises:
            ResponseTimedOut: The answer took longer than RESPONSE_TIMEOUT; a stream of events never does.
        """
        with Containment():
            response = await self.app.handle_request(request)
            seconds = self.response_timeout(response)
            limit = asyncio.timeout(seconds)
            try:
                async with limit:
                    await self._send_response(send, response)
            except TimeoutError as error:
                if limit.expired():
                    raise ResponseTimedOut(f"an answer was not sent within {seconds} s") from error
                raise

    def response_timeout(self, response: Any) -> float | None:
        """Return how many seconds an answer may take to be sent."""
        if isinstance(response, Response) and response.timeout is not Ellipsis:
            own: float | None = response.timeout
            return own
        if response.mimetype == EVENT_STREAM:
            return None
        timeout: float | None = self.app.config["RESPONSE_TIMEOUT"]
        return timeout
