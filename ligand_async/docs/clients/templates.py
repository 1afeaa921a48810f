"""The templates of the Python client: openapi-python-client's own, changed where they are not fit for services.

They are read from the installed release (0.29) and changed text by text. A text that is not there any more is an error,
so that a new release is not used without a look at it.
"""

import re
from pathlib import Path

from ligand_async.docs.clients.package import ClientError

_ENDPOINT = "endpoint_module.py.jinja"
_TYPES = "types.py.jinja"
_PROJECT = "pyproject_pdm.toml.jinja"
_LIBRARY = re.compile(r"\bhttpx\b")

_QUOTE_STEP = '''

def quote_step(value: object) -> str:
    """Quote a variable of a path, which is one step of it.

    Raises:
        ValueError: The step would lead to another operation: it is empty, `.` or `..`.
    """
    text = str(value)
    if text in {"", ".", ".."}:
        raise ValueError("a variable of a path cannot be empty, `.` or `..`, because that is another path")
    return quote(text, safe="")
'''

_READ_FILE = """\
{% if endpoint.bodies | selectattr("body_type", "equalto", "content") | list %}
    if "content" in kwargs:
        kwargs["content"] = kwargs["content"].read()
{% endif %}
"""

# File, what it has, and what comes in its place.
_CHANGES = (
    # A step `..` would be taken out of the path before it is sent, together with the step before it.
    (_ENDPOINT, "from urllib.parse import quote\n", ""),
    (_ENDPOINT, "from ...types import Response, UNSET\n", "from ...types import Response, UNSET, quote_step\n"),
    (_ENDPOINT, 'quote(str({{parameter.python_name}}), safe="")', "quote_step({{parameter.python_name}})"),
    (_TYPES, "from attrs import define\n", "from urllib.parse import quote\n\nfrom attrs import define\n"),
    (_TYPES, '\n\nT = TypeVar("T")\n', f'{_QUOTE_STEP}\n\nT = TypeVar("T")\n'),
    (_TYPES, '"Response", "Unset"]', '"Response", "Unset", "quote_step"]'),
    # A fixed boundary may be in a file. Without this header a random one is made.
    (_ENDPOINT, 'headers["Content-Type"] = "multipart/form-data; boundary=+++"\n', "\n"),
    # An async client does not send a file by itself.
    (
        _ENDPOINT,
        "    response = await client.get_async_httpx_client().request(\n",
        _READ_FILE + "    response = await client.get_async_httpx_client().request(\n",
    ),
    # One HTTP library in a service that calls another: see `ServiceClient.bind`.
    (_PROJECT, '"httpx>=0.23.1,<0.29.0"', '"httpx2>=2.16,<3"'),
)


def write_templates(source: Path, target: Path) -> None:
    """Write the templates that differ from those of the generator.

    Args:
        source: The directory of the generator's templates.
        target: The directory to be made.

    Raises:
        ClientError: A template does not have the text that is to be changed.
    """
    target.mkdir()
    for path in sorted(source.glob("*.jinja")):
        original = changed = path.read_text(encoding="utf-8")
        for name, before, after in _CHANGES:
            if name == path.name:
                if before not in changed:
                    raise ClientError(
                        f"openapi-python-client has another {name} than 0.29; install openapi-python-client~=0.29"
                    )
                changed = changed.replace(before, after)
        changed = _LIBRARY.sub("httpx2", changed)
        if changed != original:
            (target / path.name).write_text(changed, encoding="utf-8")
