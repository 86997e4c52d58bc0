"""What both auth programs of this folder share: a person with a browser, a place for tokens, and the loop that takes orders.

Orders are JSON, one per line on stdin, and each is answered by one line on stdout; `peers/auth.py` gives them:

    {"do": "open", "client": NAME, ...}  logs in and connects; the rest says as whom, and is explained at `Plan`
    {"do": "list" | "call" | "close", "client": NAME, "tool": ..., "arguments": {...}}

The answer holds what was `found` or why it `failed`, and what that client did and came to know since the last one: its HTTP
`requests` in order, the access `tokens` that it was given, and other `secrets`.
"""

import asyncio
import json
import sys
import traceback
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

# Nothing listens there: the browser stops when it is sent there, and takes the code from the address.
REDIRECT = "http://127.0.0.1:1/callback"


class Plan:
    """How a client logs in, from an order to open one.

    `url` is the server and `era` the protocol's. `grant` is "code", "credentials" or "key". With "code" the client registers
    under `name` and `person` logs in, who grants no more than the scopes in `grants`, the first time, where that is given;
    `refresh` tells whether it asks for refresh tokens; `registered` is the metadata of a client that need not register. With
    "credentials" it is `id`, `secret` and `scope`. `issuer` is the OAuth server's. With "key" there is no OAuth, but `key`.
    """

    def __init__(self, order):
        self.person = self.grants = self.registered = self.scope = self.key = None
        self.name, self.refresh = "peer", True
        self.__dict__.update(order)

    def headers(self):
        return {"X-API-Key": self.key} if self.key else {}

    def metadata(self):
        return {
            "client_name": self.name,
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token"] if self.refresh else ["authorization_code"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }


class Told:
    """What a client did and came to know since the last answer."""

    def __init__(self):
        self.requests, self.tokens, self.secrets = [], [], []

    async def response(self, response):
        """The hook of the HTTP client, which sees the requests for metadata and tokens too."""
        request = response.request
        made = {"method": request.method, "path": request.url.path, "status": response.status_code}
        if request.headers.get("content-type") == "application/x-www-form-urlencoded":
            made["form"] = dict(urllib.parse.parse_qsl(request.content.decode()))
        if session := request.headers.get("mcp-session-id"):
            made["session"] = session
        if challenge := response.headers.get("www-authenticate"):
            made["challenge"] = challenge
        self.requests.append(made)

    def take(self):
        told = {"requests": self.requests, "tokens": self.tokens, "secrets": self.secrets}
        self.requests, self.tokens, self.secrets = [], [], []
        return told


class Storage:
    """Keeps tokens and registration in memory, as the SDK asks for it."""

    def __init__(self, told, client_info):
        self.told = told
        self.tokens = None
        self.client_info = client_info

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens
        self.told.tokens.append(tokens.access_token)
        self.told.secrets.append(tokens.refresh_token)

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


class Person:
    """Opens the address of a login, and is known there by name."""

    def __init__(self, plan, told):
        self.plan = plan
        self.told = told
        self.came_back = None

    async def log_in(self, url):
        self.came_back = await asyncio.to_thread(self.browse, url)
        self.told.secrets.append(self.came_back.get("code"))

    def browse(self, url):
        address = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(address.query)) | {"login_hint": self.plan.person}
        self.told.requests.append({"method": "browse", "path": address.path, "form": query})
        if self.plan.grants is not None:
            query["scope"], self.plan.grants = self.plan.grants, None
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()), Stop())
        try:
            page = browser.open(address._replace(query=urllib.parse.urlencode(query)).geturl())
        except urllib.error.HTTPError as stopped:
            page = stopped
        reached = page.headers.get("location", "")
        if not reached.startswith(REDIRECT):
            raise AssertionError(f"the login ended with status {page.status}: {page.read()[:500]}")
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(reached).query))


class Stop(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, file, code, message, headers, url):
        if url.startswith(REDIRECT):
            return None
        return super().redirect_request(request, file, code, message, headers, url)


def plain(model):
    """The message as it was on the wire, but for members that were null."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


# ---- the loop ----


class Seat:
    """A task per client: what the SDK opens in one task it wants closed in the same."""

    def __init__(self, connect, plan, told):
        self.orders = asyncio.Queue()
        self.opened = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.sit(connect, plan, told))

    async def sit(self, connect, plan, told):
        try:
            async with connect(plan, told) as client:
                self.opened.set_result(client.about)
                while (order := await self.orders.get()) is not None:
                    work, done = order
                    try:
                        done.set_result(await work(client))
                    except Exception as error:
                        done.set_exception(error)
        except Exception as error:
            if self.opened.done():
                raise
            self.opened.set_exception(error)

    async def do(self, work):
        done = asyncio.get_running_loop().create_future()
        await self.orders.put((work, done))
        return await done

    async def close(self):
        await self.orders.put(None)
        await self.task


class Program:
    def __init__(self, connect):
        self.connect = connect
        self.seats = {}
        self.told = {}

    async def obey(self, order):
        name = order["client"]
        match order["do"]:
            case "open":
                self.told[name] = Told()
                self.seats[name] = Seat(self.connect, Plan(order), self.told[name])
                return await self.seats[name].opened
            case "list":
                return await self.seats[name].do(lambda client: client.list())
            case "call":
                return await self.seats[name].do(lambda client: client.call(order["tool"], order["arguments"]))
            case "close":
                return await self.seats.pop(name).close()
            case unknown:
                raise ValueError(f"unknown order {unknown}")

    async def run(self):
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            try:
                answer = {"found": await self.obey(order)}
            except Exception as error:
                answer = {"failed": "".join(traceback.format_exception(error))[-3000:]}
            print(json.dumps(answer | self.told[order["client"]].take()), flush=True)
