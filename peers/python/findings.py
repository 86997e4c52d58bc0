"""Collects what a program of this folder found out about each feature, one after the other, so that one fault hides no other.

What a feature finds is JSON of the protocol's own shapes; `peers/everything.py` judges it.
"""

import json
import traceback

import anyio

ONE_FEATURE_SECONDS = 20


class NotOffered(Exception):
    """The SDK has no way to do this; the text says why."""


class Findings:
    def __init__(self):
        self.about = {}
        self.features = {}

    async def look(self, name, feature):
        """Runs one feature, an async function without arguments, and keeps what it returns."""
        try:
            with anyio.fail_after(ONE_FEATURE_SECONDS):
                self.features[name] = {"found": await feature()}
        except NotOffered as reason:
            self.features[name] = {"notOffered": str(reason)}
        except Exception as error:
            self.features[name] = {"failed": "".join(traceback.format_exception(error))[-3000:]}

    def print(self):
        print(json.dumps({**self.about, "features": self.features}))


def plain(model):
    """The message as it was on the wire, but for members that were null."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def until(condition, what, seconds=10):
    """Waits until the async function returns something true, and returns that."""
    with anyio.move_on_after(seconds):
        while True:
            if found := await condition():
                return found
            await anyio.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


async def all_pages(fetch, member):
    """Follows the cursors; `fetch(cursor)` returns one page as plain JSON."""
    items, cursor = [], None
    while True:
        page = await fetch(cursor)
        items += page[member]
        cursor = page.get("nextCursor")
        if cursor is None:
            return items
