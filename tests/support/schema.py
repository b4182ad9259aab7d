"""The JSON schemas that memwatch ships: the keys they describe, and the keys documents have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped, unused-ignore]


class Key(NamedTuple):
    """A key that a schema describes."""

    at: str
    """Where it is: "processes[].images[]"; empty at the top."""
    name: str
    description: str
    required: bool

    @property
    def place(self) -> tuple[str, str]:
        return self.at, self.name


class Schema:
    """One of the schemas that memwatch ships."""

    def __init__(self, name: str) -> None:
        """`name` is the file name up to the first dot."""
        path = files("memwatch").joinpath(f"schema/{name}.schema.json")
        self.document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    def check(self) -> None:
        """Checks that it is a valid JSON schema."""
        jsonschema.Draft202012Validator.check_schema(self.document)

    def validate(self, document: object) -> None:
        """Raises jsonschema.ValidationError."""
        jsonschema.Draft202012Validator(self.document).validate(document)

    def described(self) -> list[Key]:
        """Returns every key that it describes."""
        return list(self._keys(self.document, ""))

    def places(self) -> set[tuple[str, str]]:
        """Returns the same keys in the form of written_keys()."""
        return {key.place for key in self.described()}

    def _keys(self, schema: dict[str, Any], at: str) -> Iterator[Key]:
        schema = self._resolved(schema)
        required = schema.get("required", ())
        for name, each in schema.get("properties", {}).items():
            description = each.get("description") or self._resolved(each).get("description", "")
            yield Key(at, name, description, name in required)
            yield from self._keys(each, f"{at}.{name}".lstrip("."))
        if "items" in schema:
            yield from self._keys(schema["items"], f"{at}[]")

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follows a reference; takes the first of several alternatives: it describes the most."""
        if reference := schema.get("$ref"):
            found = self.document
            for word in reference.removeprefix("#/").split("/"):
                found = found[word]
            return self._resolved({**found, **{k: v for k, v in schema.items() if k != "$ref"}})
        if "oneOf" in schema:
            return self._resolved(schema["oneOf"][0])
        return schema


def written_keys(document: object, at: str = "") -> set[tuple[str, str]]:
    """Returns every key of a document: its path and its name."""
    found: set[tuple[str, str]] = set()
    if isinstance(document, dict):
        for name, value in document.items():
            found |= {(at, name)} | written_keys(value, f"{at}.{name}".lstrip("."))
    elif isinstance(document, list):
        for value in document:
            found |= written_keys(value, f"{at}[]")
    return found
