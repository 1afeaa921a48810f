"""The way to a development issuer within one process."""

import httpx2

from ligand_async.auth.development.issuer import DevelopmentIssuer


class InProcess(httpx2.AsyncBaseTransport):
    """Leads a verifier to a development issuer without a server, and past the hooks of the service.

    Args:
        issuer: The issuer, of which metadata and keys can be read.
    """

    def __init__(self, issuer: DevelopmentIssuer) -> None:
        self.issuer = issuer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        metadata = self.issuer.metadata()
        documents = {
            httpx2.URL(f"{self.issuer.issuer}/.well-known/openid-configuration"): metadata,
            httpx2.URL(metadata["jwks_uri"]): self.issuer.jwks(),
        }
        document = documents.get(request.url)
        return httpx2.Response(404) if document is None else httpx2.Response(200, json=document)
