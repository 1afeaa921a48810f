"""What the operations of an app are called, while it serves: by the names in its document."""

from typing import cast

from quart import Quart

from ligand_async.docs.document import EXTENSION
from ligand_async.docs.operation_ids import name_operations
from ligand_async.docs.provider import LigandOpenAPIProvider


class OperationNames:
    """The operationIds of an app's routes, found once: a Quart app takes no routes after its first request."""

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._names: dict[tuple[str, str, str], str] | None = None

    def __call__(self, endpoint: str, rule: str, method: str) -> str:
        """Return the operationId of a route, or the name of the endpoint where the document has none."""
        if self._names is None:
            self._names = self._find()
        return self._names.get((endpoint, rule, method), endpoint)

    def _find(self) -> dict[tuple[str, str, str], str]:
        provider = cast(LigandOpenAPIProvider, self._app.extensions[EXTENSION].openapi_provider)
        try:
            return name_operations([one for rule in provider.generate_rules() for one in provider.endpoints(rule)])
        except ValueError:  # two of one name: `/openapi.json` says which
            return {}
