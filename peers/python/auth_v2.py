"""Logs in to a server and uses it, with the official Python SDK, 2.x; `oauth.py` says what orders it takes."""

import asyncio
from contextlib import asynccontextmanager

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata
from oauth import Person, Program, Storage, plain


def provider(plan, told):
    if plan.grant == "key":
        return None
    if plan.grant == "credentials":
        storage = Storage(told, None)
        return ClientCredentialsOAuthProvider(
            plan.url, storage, plan.id, plan.secret, scope=plan.scope, issuer=plan.issuer
        )
    registered = plan.registered and OAuthClientInformationFull(**plan.metadata(), **plan.registered)
    person = Person(plan, told)

    async def came_back():
        back = person.came_back
        return AuthorizationCodeResult(code=back["code"], state=back["state"], iss=back["iss"])

    return OAuthClientProvider(
        plan.url, OAuthClientMetadata(**plan.metadata()), Storage(told, registered), person.log_in, came_back
    )


class Peer:
    def __init__(self, client):
        self.client = client
        self.about = {"revision": client.protocol_version}

    async def list(self):
        return [tool.name for tool in (await self.client.list_tools(cache_mode="refresh")).tools]

    async def call(self, tool, arguments):
        return plain(await self.client.call_tool(tool, arguments))


@asynccontextmanager
async def connect(plan, told):
    # "auto" probes with server/discover, as hosts do; which revision came of it is for the driver to judge.
    mode = {"modern": "auto", "legacy": "legacy"}[plan.era]
    hooks = {"response": [told.response]}
    options = {"auth": provider(plan, told), "headers": plan.headers(), "event_hooks": hooks, "timeout": 30}
    async with httpx2.AsyncClient(**options) as http:
        transport = streamable_http_client(plan.url, http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=15) as client:
            yield Peer(client)


asyncio.run(Program(connect).run())
