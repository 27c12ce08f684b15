"""The answers of a provider that says no: status, type and words as the error page prints them."""

from __future__ import annotations


class Refusal(Exception):
    """The provider refuses a call; it has had no effect. `type` is the vendor's error type."""

    def __init__(self, status: int, type_: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message

    def body(self) -> dict[str, object]:
        """Return the JSON envelope, `{"error": {"message", "type"}}`."""
        return {"error": {"message": self.message, "type": self.type}}


def invalid(message: str) -> Refusal:
    """Return a 400: the request itself is wrong."""
    return Refusal(400, "invalid_request_error", message)


def unknown(what: str, name: str) -> Refusal:
    """Return a 404: there is no such thing, or no longer."""
    return Refusal(404, "resource_not_found_error", f"{what} {name} not found")
