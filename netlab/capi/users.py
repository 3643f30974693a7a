"""Users and roles, as far as clients name them.

The UAA has one account, the administrator's, which may do everything; a role is kept and shown, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import common, metadata, to_one, update_metadata
from netlab.capi.errors import unprocessable
from netlab.capi.jobs import accepted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import MetadataUpdate, RoleCreate, RoleUser, UserCreate
from netlab.capi.models import Organization, Role, Space, User, new_guid
from netlab.capi.presenting import ORGANIZATION, SPACE, Inclusion

_ORGANIZATION_ROLES = (
    "organization_auditor",
    "organization_manager",
    "organization_billing_manager",
    "organization_user",
)
_SPACE_ROLES = ("space_auditor", "space_developer", "space_manager", "space_supporter")
ORIGIN = "uaa"


def _user(call: Call, user: User) -> dict[str, Any]:
    return {
        **common(user),
        "username": user.username,
        "presentation_name": user.username or user.guid,
        "origin": user.origin,
        "metadata": metadata(user),
        "links": {"self": call.link(f"/v3/users/{user.guid}")},
    }


_USERS = Listing(
    User,
    {
        "guids": among(User.guid),
        "usernames": among(User.username),
        "origins": among(User.origin),
    },
)
_INCLUSIONS: Mapping[str, Inclusion] = {
    "user": Inclusion("users", lambda role: role.user, _user),
    "space": SPACE,
    "organization": ORGANIZATION,
}
_ROLES = Listing(
    Role,
    {
        "guids": among(Role.guid),
        "types": among(Role.type),
        "user_guids": among(Role.user_guid),
        "organization_guids": among(Role.organization_guid),
        "space_guids": among(Role.space_guid),
    },
    inclusions=_INCLUSIONS,
)


def list_users(call: Call) -> Response:
    """GET /v3/users."""
    with call.transaction() as transaction:
        return _USERS.answer(call, transaction, _user)


def list_organization_users(call: Call) -> Response:
    """GET /v3/organizations/:guid/users: those with a role there."""
    with call.transaction() as transaction:
        organization = transaction.get(Organization, call.guid)
        return _USERS.answer(call, transaction, _user, User.roles.any(Role.organization_guid == organization.guid))


def list_space_users(call: Call) -> Response:
    """GET /v3/spaces/:guid/users: those with a role there."""
    with call.transaction() as transaction:
        space = transaction.get(Space, call.guid)
        return _USERS.answer(call, transaction, _user, User.roles.any(Role.space_guid == space.guid))


def show_user(call: Call) -> Response:
    """GET /v3/users/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_user(call, transaction.get(User, call.guid)))


def create_user(call: Call) -> Response:
    """POST /v3/users: somebody of whom the UAA knows a guid, or a name and where it comes from."""
    message = call.message(UserCreate)
    if (message.guid is None) == (message.username is None):
        raise unprocessable("Parameters username and guid cannot be used together, and one of them is needed")
    if message.username is not None and message.origin is None:
        raise unprocessable("Origin can only be omitted when a guid is given")
    with call.transaction() as transaction:
        session = transaction.session
        if message.guid is not None and session.get(User, message.guid) is not None:
            raise unprocessable(f"User with guid '{message.guid}' already exists.")
        taken = select(User.position).where(User.username == message.username, User.origin == message.origin)
        if message.username is not None and session.scalar(taken):
            raise unprocessable(
                f"User with username '{message.username}' and origin '{message.origin}' already exists."
            )
        user = User(
            guid=message.guid or new_guid(), username=message.username, origin=message.origin, labels={}, annotations={}
        )
        update_metadata(user, message.metadata)
        session.add(user)
        session.flush()
        return JSONResponse(_user(call, user), 201)


def remember(transaction: Transaction, guid: str, username: str) -> None:
    """Have a user of the UAA known, as the Cloud Controller does when it first meets one."""
    if transaction.session.get(User, guid) is None:
        transaction.session.add(User(guid=guid, username=username, origin=ORIGIN))


def update_user(call: Call) -> Response:
    """PATCH /v3/users/:guid: metadata only."""
    message = call.message(MetadataUpdate)
    with call.transaction() as transaction:
        user = transaction.get(User, call.guid)
        update_metadata(user, message.metadata)
        transaction.session.flush()
        return JSONResponse(_user(call, user))


def delete_user(call: Call) -> Response:
    """DELETE /v3/users/:guid, with its roles; the account at the UAA stays."""
    with call.transaction() as transaction:
        transaction.session.delete(transaction.get(User, call.guid))
        return accepted(call, transaction, "user.delete")


def _role(call: Call, role: Role) -> dict[str, Any]:
    links = {
        "self": call.link(f"/v3/roles/{role.guid}"),
        "user": call.link(f"/v3/users/{role.user_guid}"),
    }
    if role.organization_guid is not None:
        links["organization"] = call.link(f"/v3/organizations/{role.organization_guid}")
    if role.space_guid is not None:
        links["space"] = call.link(f"/v3/spaces/{role.space_guid}")
    return {
        **common(role),
        "type": role.type,
        "relationships": {
            "user": to_one(role.user_guid),
            "organization": to_one(role.organization_guid),
            "space": to_one(role.space_guid),
        },
        "links": links,
    }


def list_roles(call: Call) -> Response:
    """GET /v3/roles."""
    with call.transaction() as transaction:
        return _ROLES.answer(call, transaction, _role)


def show_role(call: Call) -> Response:
    """GET /v3/roles/:guid."""
    with call.transaction() as transaction:
        return _ROLES.single(call, _role, transaction.get(Role, call.guid))


def create_role(call: Call) -> Response:
    """POST /v3/roles: of an organization or of a space, as the type says."""
    message = call.message(RoleCreate)
    given = message.relationships
    if message.type not in (*_ORGANIZATION_ROLES, *_SPACE_ROLES):
        valid = ", ".join((*_ORGANIZATION_ROLES, *_SPACE_ROLES))
        raise unprocessable(f"Type must be one of the allowed types [{valid}]")
    in_space = message.type in _SPACE_ROLES
    wanted, other = ("space", given.organization) if in_space else ("organization", given.space)
    reference = given.space if in_space else given.organization
    if other is not None and other.data is not None:
        raise unprocessable(f"Relationships of a role of type '{message.type}' must name a {wanted} and nothing else")
    if reference is None or reference.data is None:
        raise unprocessable(f"Relationships {wanted} can't be blank")
    guid = reference.data.guid
    with call.transaction() as transaction:
        session = transaction.session
        user = _find_user(transaction, given.user.data)
        if in_space:
            place: Space | Organization | None = session.get(Space, guid)
        else:
            place = session.get(Organization, guid)
        if place is None:
            raise unprocessable(f"Invalid {wanted}. Ensure that the {wanted} exists and you have access to it.")
        role = Role(type=message.type, user=user)
        if isinstance(place, Space):
            role.space = place
            of_organization = select(Role.position).where(
                Role.user_guid == user.guid, Role.organization_guid == place.organization_guid
            )
            if not session.scalar(of_organization.limit(1)):
                raise unprocessable(
                    "Users cannot be assigned roles in a space if they do not have a role in that space's organization."
                )
        else:
            role.organization = place
        column = Role.space_guid if in_space else Role.organization_guid
        taken = select(Role.position).where(
            Role.type == message.type, Role.user_guid == user.guid, column == place.guid
        )
        if session.scalar(taken):
            name = user.username or user.guid
            raise unprocessable(f"User '{name}' already has '{message.type}' role in {wanted} '{place.name}'.")
        session.add(role)
        session.flush()
        return JSONResponse(_role(call, role), 201)


def _find_user(transaction: Transaction, given: RoleUser | None) -> User:
    query = select(User)
    if given is not None and given.guid is not None:
        query = query.where(User.guid == given.guid)
    elif given is not None and given.username is not None:
        query = query.where(User.username == given.username)
        query = query.where(User.origin == given.origin) if given.origin else query
    else:
        raise unprocessable("Relationships user can't be blank")
    user = transaction.session.scalar(query.limit(1))
    if user is None:
        raise unprocessable("Invalid user. Ensure that the user exists and you have access to it.")
    return user


def delete_role(call: Call) -> Response:
    """DELETE /v3/roles/:guid."""
    with call.transaction() as transaction:
        transaction.session.delete(transaction.get(Role, call.guid))
        return accepted(call, transaction, "role.delete")
