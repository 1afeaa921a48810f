"""The exchange rates, which another service knows."""

from collections.abc import AsyncIterator
from decimal import Decimal
from urllib.parse import quote

from pydantic import BaseModel

from examples.invoices.settings import InvoicesSettings
from ligand_async import BadRequest
from ligand_async.upstream import ForwardToken, ServiceClient, read_model


class Rate(BaseModel):
    """What one euro costs."""

    rate: Decimal


class Rates:
    """Asks the exchange rate service, on behalf of the caller."""

    def __init__(self, client: ServiceClient) -> None:
        self.client = client

    async def find(self, currency: str) -> Decimal:
        """Return what one euro costs.

        Raises:
            BadRequest: There is no such currency.
        """
        response = await self.client.get(f"/rates/{quote(currency, safe='')}")
        if response.status_code == 404:
            raise BadRequest(f"there is no rate for {currency}")
        return read_model(response, Rate).rate


async def open_rates(settings: InvoicesSettings) -> AsyncIterator[Rates]:
    """Keep one client open for as long as the app runs."""
    async with ServiceClient(settings.rates_url, credentials=ForwardToken(), timeout=3.0) as client:
        yield Rates(client)
