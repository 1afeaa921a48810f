"""What the tests of opaque tokens share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from ligand_async.auth.tokens import IntrospectionVerifier
from tests.auth.issuing import IntrospectingIssuer
from tests.auth.verifying import Clock, make_verifier


@pytest.fixture
def issuer() -> Iterator[IntrospectingIssuer]:
    """Run an issuer that is asked what opaque tokens are."""
    with IntrospectingIssuer() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    """Return the clock of `verifier`."""
    return Clock()


@pytest.fixture
async def verifier(issuer: IntrospectingIssuer, clock: Clock) -> AsyncIterator[IntrospectionVerifier]:
    """Make what asks that issuer."""
    made = make_verifier(issuer, clock)
    yield made
    await made.stop()
