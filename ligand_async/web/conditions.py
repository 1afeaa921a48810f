"""The conditions of a request (RFC 9110 section 13): what it expects of the resource, and whether that is so."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from werkzeug.datastructures import ETags, Headers
from werkzeug.http import parse_date, parse_etags

from ligand_async.data.versions import Origin, digest


@dataclass(frozen=True, slots=True)
class Selected:
    """What conditions are compared with: the selected representation.

    Attributes:
        tag: Its entity tag, without quotes; None where it is not known yet.
        weak: Whether that is a weak one.
        state: What every strong tag of ours begins with for this resource at this version; None where there is none.
        changed_at: When the resource was last changed, if that is known.
    """

    tag: str | None = None
    weak: bool = False
    state: str | None = None
    changed_at: datetime | None = None

    @classmethod
    def of_origin(cls, origin: Origin, body: bytes | None = None) -> Self:
        """Make it of a stored thing: its version, which thing it is, and a digest of the body where there is one.

        The body is part of the tag because one version has several representations: of other schemas, for other
        callers, with something nested that changes by itself.
        """
        state = f"{origin.version}-{origin.identity}"
        tag = f"{state}-{digest(body)}" if body else None
        return cls(tag, state=state, changed_at=origin.changed_at)

    def matches(self, tags: ETags) -> bool:
        """Compare strongly. Any representation of the version counts: it is the version that is not to be lost."""
        return tags.star_tag or any(self.is_of_state(tag) or self.is_exactly(tag) for tag in tags.as_set() if tag)

    def is_known_to(self, tags: ETags) -> bool:
        """Compare weakly; the whole tag where there is one, because a cache answers with what it has."""
        known = {tag for tag in tags.as_set(include_weak=True) if tag}
        return tags.star_tag or (any(map(self.is_of_state, known)) if self.tag is None else self.tag in known)

    def is_of_state(self, tag: str) -> bool:
        """Tell whether a tag is of the same resource and version."""
        return self.state is not None and (tag == self.state or tag.startswith(f"{self.state}-"))

    def is_exactly(self, tag: str) -> bool:
        """Tell whether a tag is this strong one."""
        return not self.weak and tag == self.tag


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditional headers of a request, None where one is absent; dates that are none count as absent.

    A header that is there and holds no tag matches nothing, and so fails safely.
    """

    match: ETags | None = None
    none_match: ETags | None = None
    unmodified_since: datetime | None = None
    modified_since: datetime | None = None

    @classmethod
    def of_headers(cls, headers: Headers) -> Self:
        """Read them."""
        return cls(
            tags_of(headers, "If-Match"),
            tags_of(headers, "If-None-Match"),
            parse_date(headers.get("If-Unmodified-Since")),
            parse_date(headers.get("If-Modified-Since")),
        )

    def are_stale(self, selected: Selected | None) -> bool:
        """Tell whether steps 1 and 2 of section 13.2.2 fail: the resource is not what the client takes it for."""
        if self.match is not None:
            return selected is None or not selected.matches(self.match)
        changed_at = selected.changed_at if selected is not None else None
        if self.unmodified_since is None or changed_at is None:
            return False
        return changed_at.replace(microsecond=0) > self.unmodified_since

    def know(self, selected: Selected | None) -> bool:
        """Tell whether step 3 fails: there is something that must not be there, or that the client has."""
        return self.none_match is not None and selected is not None and selected.is_known_to(self.none_match)

    def have_seen(self, selected: Selected) -> bool:
        """Tell whether step 3 or 4 fails for a read: the client has it, by its tag or else by its date."""
        if self.none_match is not None or self.modified_since is None or selected.changed_at is None:
            return self.know(selected)
        return selected.changed_at.replace(microsecond=0) <= self.modified_since

    def pin(self, selected: Selected | None) -> bool:
        """Tell whether they say which state a change is meant for, so that no other one is overwritten."""
        if self.match is not None or (self.none_match is not None and self.none_match.star_tag):
            return True
        return self.unmodified_since is not None and selected is not None and selected.changed_at is not None


def tags_of(headers: Headers, name: str) -> ETags | None:
    """Parse a list of tags, which may come in several header fields. An empty tag is None in it."""
    fields = headers.getlist(name)
    return parse_etags(", ".join(fields).strip()) if fields else None
