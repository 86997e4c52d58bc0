"""Logs in to a server and uses it, with the official Python SDK, 1.x; `oauth.py` says what orders it takes.

This SDK speaks the handshake revisions only.
"""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata
from oauth import Person, Program, Storage, plain


def provider(plan, told):
    if plan.grant == "key":
        return None
    if plan.grant == "credentials":
        storage = Storage(told, None)
        return ClientCredentialsOAuthProvider(
            plan.url, storage, plan.id, plan.secret, scopes=plan.scope, issuer=plan.issuer
        )
    registered = plan.registered and OAuthClientInformationFull(**plan.metadata(), **plan.registered)
    person = Person(plan, told)

    async def came_back():
        return person.came_back["code"], person.came_back["state"]

    return OAuthClientProvider(
        plan.url, OAuthClientMetadata(**plan.metadata()), Storage(told, registered), person.log_in, came_back
    )


class Peer:
    def __init__(self, session, greeting):
        self.session = session
        self.about = {"revision": greeting.protocolVersion}

    async def list(self):
        return [tool.name for tool in (await self.session.list_tools()).tools]

    async def call(self, tool, arguments):
        return plain(await self.session.call_tool(tool, arguments))


@asynccontextmanager
async def connect(plan, told):
    if plan.era != "legacy":
        raise ValueError("this SDK does not speak 2026-07-28")
    hooks = {"response": [told.response]}
    options = {"auth": provider(plan, told), "headers": plan.headers(), "event_hooks": hooks, "timeout": 30}
    async with httpx.AsyncClient(**options) as http:
        async with streamable_http_client(plan.url, http_client=http) as (read, write, _session_id):
            async with ClientSession(read, write, read_timeout_seconds=timedelta(seconds=15)) as session:
                yield Peer(session, await session.initialize())


asyncio.run(Program(connect).run())
