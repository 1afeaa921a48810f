"""The PDF of an invoice: what is taken, what is handed out, and in which parts."""

from hashlib import sha256

import pytest

from examples.invoices.models import audit, db
from examples.invoices.pdfs import LARGEST
from examples.invoices.tenants import variables_for
from ligand_async.web import LigandQuart
from tests.examples.invoices.callers import PDF, Caller, upload


@pytest.fixture
async def where(ann: Caller) -> str:
    """The path of a draft."""
    path, *_ = await ann.invoice(await ann.customer())
    return path


async def test_a_pdf_comes_back_as_it_was_sent(ann: Caller, where: str) -> None:
    """Its content decides what it is; the name is that of the invoice; the next one takes its place."""
    status, document, tag = await upload(ann, where)
    assert (status, document["pdf"]["size"]) == (200, len(PDF))
    assert document["pdf"]["sha256"] == sha256(PDF).hexdigest()
    _, read, headers = await ann.send("GET", where)
    assert (read, headers["ETag"]) == (document, tag)

    response = await ann.client.get(f"{where}/pdf", headers=ann.headers)
    assert await response.get_data() == PDF
    assert (response.mimetype, response.headers["Content-Disposition"]) == (
        "application/pdf",
        'attachment; filename="2030-1.pdf"',
    )
    assert (await upload(ann, where, PDF + b"%%EOF"))[1]["pdf"]["size"] == len(PDF) + 5
    assert len(await (await ann.client.get(f"{where}/pdf", headers=ann.headers)).get_data()) == len(PDF) + 5


@pytest.mark.ligand_database("sqlite")
async def test_a_download_may_be_a_part(ann: Caller, where: str) -> None:
    """Who has the file gets a 304, who has a part asks for the rest, and nobody gets parts of two files."""
    await upload(ann, where)
    path = f"{where}/pdf"
    tag = f'"{sha256(PDF).hexdigest()}"'

    async def get(**headers: str) -> tuple[int, bytes, str | None]:
        sent = ann.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        response = await ann.client.get(path, headers=sent)
        assert response.status_code == 416 or response.headers["ETag"] == tag
        return response.status_code, await response.get_data(), response.headers.get("Content-Range")  # type: ignore[return-value]  # bytes

    size = len(PDF)
    assert await get(If_None_Match=tag) == (304, b"", None)
    assert await get(Range="bytes=0-4") == (206, b"%PDF-", f"bytes 0-4/{size}")
    assert await get(Range="bytes=-6") == (206, b"%%EOF\n", f"bytes {size - 6}-{size - 1}/{size}")
    assert await get(Range="bytes=9-", If_Range=tag) == (206, PDF[9:], f"bytes 9-{size - 1}/{size}")
    assert await get(Range="bytes=9-", If_Range='"old"') == (200, PDF, None)
    assert await get(Range="bytes=0-1,4-5") == (200, PDF, None)
    status, _, length = await get(Range=f"bytes={size}-")
    assert (status, length) == (416, f"bytes */{size}")


async def test_what_is_not_a_pdf_is_refused(ann: Caller, where: str) -> None:
    """Nothing is kept of another file, of a part of one, of an empty one, of one that is too large; nor of none."""
    for content in (b"\x89PNG\r\n", b"", PDF[:-10], b" " + PDF):
        status, problem, _ = await upload(ann, where, content)
        assert (status, problem["errors"][0]["pointer"]) == (422, "/file")
    assert (await upload(ann, where, PDF[:-6] + b"0" * LARGEST + b"%%EOF\n"))[0] == 413
    assert (await ann.send("PUT", f"{where}/pdf", {"file": "x"}, if_match="*"))[0] == 415
    assert (await ann.send("GET", f"{where}/pdf"))[0] == 404


async def test_a_pdf_belongs_to_its_invoice(app: LigandQuart, ann: Caller, where: str) -> None:
    """It is changed under the tag of the invoice, by who may change that, while it is a draft; and goes with it."""
    bob, spy = Caller(app, "bob"), Caller(app, "spy", "rival")
    old = (await ann.send("GET", where))[2]["ETag"]
    assert (await upload(bob, where))[0] == 403
    assert (await upload(spy, where))[0] == 404
    assert (await upload(ann, where, tag=old))[0] == 200
    assert (await upload(ann, where, tag=old))[0] == 412
    assert (await bob.send("GET", f"{where}/pdf"))[0] == 200
    assert (await spy.send("GET", f"{where}/pdf"))[0] == 404

    assert (await ann.send("DELETE", where, if_match="*"))[0] == 204
    async with db.read(variables=variables_for("acme")) as session:
        events = (await session.execute(audit.table.select().where(audit.table.c.entity == "Pdf"))).all()
    assert [event.action for event in events] == ["insert", "delete"]
    assert {"size", "sha256"} <= events[0].new.keys()
    assert "content" not in events[0].new

    sent, *_ = await ann.invoice(str((await ann.send("GET", "/customers/"))[1]["items"][0]["id"]))
    assert (await ann.send("POST", f"{sent}/send"))[0] == 200
    assert (await upload(ann, sent))[1]["type"] == "/problems/wrong-status"
