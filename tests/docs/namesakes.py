"""Models whose names others have too."""

from pydantic import BaseModel


class Toy(BaseModel):
    kind: str


class Problem(BaseModel):
    """A riddle."""

    question: str
