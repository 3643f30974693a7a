"""Every error that netlab raises on purpose, split by whose fault it is.

    NetlabError
    ├── UsageError            the command line is wrong                        exit 2
    ├── TopologyError         the topology file is wrong                       exit 2
    ├── LabError              the lab is not in the state that was asked for   exit 1 or 2
    │   ├── LabExists             a lab of this name is up already
    │   ├── LabNotFound           no lab of this name is up
    │   └── NodeNotFound          the lab has no such node
    ├── MachineError          this machine lacks something                     exit 5
    ├── KernelError           the kernel refused an operation                  exit 1
    ├── ForeignObjectError    somebody else's object stands in the way         exit 1
    ├── MeshError             a component refused or did not answer            exit 1
    ├── RemoteError           any of these, raised in another process          as raised there
    └── NetlabBug             a bug of ours                                    exit 1

Each carries a stable `code`, a one-line message, an optional `hint` that says how to mend it, and
machine-readable `fields`; `as_dict` is what `-o json` prints.
"""

from __future__ import annotations

from typing import Any, ClassVar


class NetlabError(Exception):
    """The root of the tree; `str()` is one line that names what, where and (in `hint`) how to mend it."""

    code: ClassVar[str] = "NL-E000"
    exit_status: int = 1

    def __init__(self, message: str, *, hint: str | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields

    def as_dict(self) -> dict[str, Any]:
        """The error as `-o json` prints it: code, message, hint and the fields."""
        return {"code": self.code, "message": self.message, "hint": self.hint, **self.fields}


class UsageError(NetlabError):
    """The command line asks for something that makes no sense."""

    code = "NL-E101"
    exit_status = 2


class TopologyError(NetlabError):
    """The topology file is wrong; `fields["problems"]` lists every `file:line: field: what, and the mend`."""

    code = "NL-E102"
    exit_status = 2


class ManifestError(NetlabError):
    """The app manifest is wrong; `fields["problems"]` is that of TopologyError."""

    code = "NL-E103"
    exit_status = 2


class LabError(NetlabError):
    """The lab is not in the state that the command needs."""

    code = "NL-E200"


class LabExists(LabError):
    """A lab of this name is up already."""

    code = "NL-E201"
    exit_status = 2


class LabNotFound(LabError):
    """No lab of this name is up."""

    code = "NL-E202"
    exit_status = 2


class NodeNotFound(LabError):
    """The lab has no node of this name."""

    code = "NL-E203"
    exit_status = 2


class MachineError(NetlabError):
    """This machine lacks something that netlab needs: root, a kernel feature, a program."""

    code = "NL-E300"
    exit_status = 5


class KernelError(NetlabError):
    """The kernel refused an operation; the message names the operation, its namespace and the errno."""

    code = "NL-E400"


class ForeignObjectError(NetlabError):
    """An object that netlab did not make stands where one of its own must be."""

    code = "NL-E500"


class MeshError(NetlabError):
    """A component of the mesh refused a request, or did not answer in time."""

    code = "NL-E600"


class RemoteError(NetlabError):
    """An error that was raised in another process of the lab; keeps that error's code, hint and exit status."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error["message"]), hint=error.get("hint"))
        self.error = error
        self.exit_status = int(error["exit_status"])

    def as_dict(self) -> dict[str, Any]:
        """The error as the other process described it."""
        return {key: value for key, value in self.error.items() if key != "exit_status"}


def describe(error: NetlabError) -> dict[str, Any]:
    """An error as it crosses a process boundary; RemoteError takes it back."""
    return {**error.as_dict(), "exit_status": error.exit_status}


class NetlabBug(NetlabError):
    """An invariant of netlab's own does not hold."""

    code = "NL-E900"
