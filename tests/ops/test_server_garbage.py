"""What a worker has made when it starts is never searched for garbage again."""

import json
from pathlib import Path

from tests.http import exchange_now, request
from tests.servers import launched


def test_each_worker_sets_apart_what_it_starts_with(tmp_path: Path) -> None:
    """Once, before its first request; what requests make is searched as ever."""
    seen: dict[int, list[dict[str, object]]] = {}
    with launched("tests.ops.garbage:create_app()", tmp_path, workers=2) as server:
        for _ in range(200):
            reply = exchange_now(server.address, request("GET", "/garbage", "Connection: close"), timeout=10)
            answer = json.loads(reply.body)
            seen.setdefault(answer["pid"], []).append(answer)
            if len(seen) == 2 and all(len(answers) > 2 for answers in seen.values()):
                break
        server.stop()

    assert len(seen) == 2
    for pid, answers in seen.items():
        assert {answer["enabled"] for answer in answers} == {True}
        assert {tuple(answer["frozen"]) for answer in answers} == {(pid,)}  # type: ignore[arg-type]  # a list
        counts = [answer["objects"] for answer in answers]
        assert counts == sorted(counts, reverse=True)  # type: ignore[type-var]  # numbers; some may be freed, none joins
        assert counts[-1] > 50_000  # type: ignore[operator]  # a number
