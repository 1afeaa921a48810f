"""What `<int:…>` and `<float:…>` read: the digits 0 to 9, where werkzeug 3.1 takes those of every script."""

from werkzeug.routing import BaseConverter, FloatConverter, IntegerConverter


class AsciiInteger(IntegerConverter):
    """`<int:…>`."""

    regex = "[0-9]+"


class AsciiFloat(FloatConverter):
    """`<float:…>`."""

    regex = r"[0-9]+\.[0-9]+"


CONVERTERS: dict[str, type[BaseConverter]] = {"int": AsciiInteger, "float": AsciiFloat}
