"""The screen's side of the API server: one client, and one ledger of its costs."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from vlmscope.core.base.config import Api

if TYPE_CHECKING:
    from vlmscope.core.llm.budget import Ledger
    from vlmscope.core.llm.client import Chat


class ApiLink:
    """Connects when it is first needed."""

    def __init__(self, settings: Api) -> None:
        """Nothing is connected or imported yet."""
        self.settings = settings
        self._chat: Chat | None = None
        self._ledger: Ledger | None = None

    @property
    def ledger(self) -> "Ledger":
        """What this session has cost."""
        from vlmscope.core.llm.budget import Ledger

        if self._ledger is None:
            self._ledger = Ledger(self.settings.budget_usd)
        return self._ledger

    @property
    def spent(self) -> str:
        """The same as text for the title; empty before the first request."""
        ledger = self._ledger
        if ledger is None or not (ledger.spent_usd or ledger.unpriced):
            return ""
        from vlmscope.core.llm.budget import dollars

        unpriced = f" + {ledger.unpriced} of unknown price" if ledger.unpriced else ""
        return f"{dollars(ledger.spent_usd)}{unpriced}" if ledger.spent_usd else unpriced.removeprefix(" + ")

    async def connect(self) -> "Chat":
        """The client."""
        if self._chat is None:
            # The modules alone take a moment to import: not in the event loop's thread.
            await asyncio.to_thread(import_module, "vlmscope.core.llm.client")
            from vlmscope.core.llm.client import Chat

            self._chat = Chat(self.settings)
        return self._chat

    async def close(self) -> None:
        """Disconnect."""
        if self._chat is not None:
            await self._chat.close()
