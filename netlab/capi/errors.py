"""The Cloud Controller's error documents, with the codes and titles that its clients know."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request that ends in an error document: an HTTP status, a code, a title and one or more details."""

    def __init__(self, status: int, code: int, title: str, *details: str) -> None:
        super().__init__("; ".join(details))
        self.status = status
        self.code = code
        self.title = title
        self.details = details

    def errors(self) -> list[dict[str, Any]]:
        """Each detail with the code and the title."""
        return [{"code": self.code, "title": self.title, "detail": text} for text in self.details]

    def document(self) -> dict[str, Any]:
        """The body of the response."""
        return {"errors": self.errors()}

    def v2_document(self) -> dict[str, Any]:
        """The body of the response in version 2 of the API."""
        return {"description": "; ".join(self.details), "error_code": self.title, "code": self.code}


def invalid_token() -> ApiError:
    """The bearer token is not one of ours, or no longer valid."""
    return ApiError(401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token")


def not_authenticated() -> ApiError:
    """There is no bearer token."""
    return ApiError(401, 10002, "CF-NotAuthenticated", "Authentication error")


def not_authorized() -> ApiError:
    """The token lacks the scope that the request needs."""
    return ApiError(403, 10003, "CF-NotAuthorized", "You are not authorized to perform the requested action")


def insufficient_scope() -> ApiError:
    """The same, as version 2 of the API has it."""
    text = "Your token lacks the necessary scopes to access this resource."
    return ApiError(403, 10007, "CF-InsufficientScope", text)


def unknown_request() -> ApiError:
    """There is no such endpoint."""
    return ApiError(404, 10000, "CF-NotFound", "Unknown request")


def unknown_error() -> ApiError:
    """A bug of ours; the log has the trace."""
    return ApiError(500, 10001, "UnknownError", "An unknown error occurred.")


def unparsable() -> ApiError:
    """The body is not a JSON object."""
    return ApiError(400, 1001, "CF-MessageParseError", "Request invalid due to parse error: invalid request body")


def too_large() -> ApiError:
    """The body is larger than any real request."""
    return ApiError(413, 10004, "CF-InvalidRequest", "The request body is too large")


def bad_query(*details: str) -> ApiError:
    """A query parameter is unknown or has a value that makes no sense."""
    return ApiError(
        400, 10005, "CF-BadQueryParameter", *(f"The query parameter is invalid: {text}" for text in details)
    )


def unprocessable(*details: str) -> ApiError:
    """The body is well formed but asks for what cannot be."""
    return ApiError(422, 10008, "CF-UnprocessableEntity", *details)


def missing(kind: str) -> ApiError:
    """There is no such resource; `kind` is its name with a capital letter, as in "App"."""
    return ApiError(404, 10010, "CF-ResourceNotFound", f"{kind} not found")


def runner_unavailable() -> ApiError:
    """The BBS does not answer, and it alone can do it."""
    return ApiError(503, 170015, "CF-RunnerUnavailable", "Runner is unavailable: the BBS does not answer")


def too_many(what: str, more: int, largest: int) -> ApiError:
    """A resource would have more labels or annotations than it may."""
    code, title = (390020, "LabelLimitExceeded") if what == "labels" else (390023, "AnnotationLimitExceeded")
    return ApiError(
        422, code, f"CF-{title}", f"Failed to add {more} {what} because it would exceed maximum of {largest}"
    )


def organization_deletion_failed(name: str, reasons: str) -> ApiError:
    """An organization holds what cannot be deleted."""
    text = f"Deletion of organization {name} failed because one or more resources within could not be deleted."
    return ApiError(502, 290010, "CF-OrganizationDeletionFailed", f"{text}\n\n{reasons}")


def bits_uploaded() -> ApiError:
    """A package holds one upload."""
    text = "Bits may be uploaded only once. Create a new package to upload different bits."
    return ApiError(400, 150004, "CF-PackageBitsAlreadyUploaded", text)


def stats_unavailable() -> ApiError:
    """The BBS does not answer."""
    return ApiError(503, 200002, "CF-StatsUnavailable", "Stats server temporarily unavailable.")
