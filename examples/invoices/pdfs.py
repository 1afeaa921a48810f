"""The PDF of an invoice: uploaded by a form, and downloaded as a whole or in parts."""

from hashlib import sha256
from typing import Annotated
from uuid import UUID

from quart import Blueprint, Response

from examples.invoices.access import STAFF
from examples.invoices.models import Pdf, Status
from examples.invoices.repository import Invoices, OwnInvoice
from examples.invoices.schemas import InvoiceRead
from examples.invoices.statuses import WrongStatus, check_status
from ligand_async import NotFound, check_preconditions, conditional, operation, requires, tag
from ligand_async.errors import InvalidPart, ValidationFailed
from ligand_async.web import Download, UploadedFile, make_download, request_limits

LARGEST = 5 * 1024 * 1024  # bytes of a request
END = 1024  # bytes at the end of a file, in which readers look for the last line

pdfs = requires(STAFF)(tag("invoices")(Blueprint("pdfs", __name__, url_prefix="/invoices")))


@pdfs.put("/<uuid:invoice_id>/pdf")
@conditional
@request_limits(max_body_bytes=LARGEST, timeout=60)
@operation(raises=[WrongStatus])
async def set_pdf(invoice: OwnInvoice, file: UploadedFile, mine: Invoices) -> InvoiceRead:
    """Keep a PDF of a draft, in place of the one before."""
    check_preconditions(invoice)
    check_status(invoice, {Status.DRAFT})
    content = read_pdf_file(file)
    invoice.pdf = invoice.pdf or Pdf()
    invoice.pdf.content = content
    invoice.pdf.size = len(content)
    invoice.pdf.sha256 = sha256(content).hexdigest()
    await mine.session.flush()
    await mine.tell("pdf", invoice)
    return InvoiceRead.model_validate(invoice)


@pdfs.get("/<uuid:invoice_id>/pdf")
@operation(raises=[NotFound])
async def read_pdf(invoice_id: UUID, mine: Invoices) -> Annotated[Response, Download("application/pdf")]:
    """Download the PDF of an invoice, as a whole or the range of it that the request names."""
    invoice, pdf = await mine.find_pdf(invoice_id)
    return await make_download(pdf.content, "application/pdf", filename=f"{invoice.number}.pdf", tag=pdf.sha256)


def read_pdf_file(file: UploadedFile) -> bytes:
    """Read an upload. The content decides: a name and a media type are what somebody says of it.

    Raises:
        ValidationFailed: It does not begin or end as a PDF does (ISO 32000-2, section 7.5).
    """
    content: bytes = file.read()
    if not content.startswith(b"%PDF-") or b"%%EOF" not in content[-END:]:
        raise ValidationFailed(
            "the file is not a PDF", errors=[InvalidPart("this is not a whole PDF", code="not_a_pdf", pointer="/file")]
        )
    return content
