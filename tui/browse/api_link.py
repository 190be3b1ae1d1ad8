"""The screen's side of the API server: one client, one account of what it cost."""

import asyncio
from collections.abc import Callable
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
        """The same for the title; empty before the first request."""
        ledger = self._ledger
        if ledger is None or not (ledger.spent_usd or ledger.unpriced):
            return ""
        from vlmscope.core.llm.budget import dollars

        unpriced = f" + {ledger.unpriced} of unknown price" if ledger.unpriced else ""
        return f"{dollars(ledger.spent_usd)}{unpriced}" if ledger.spent_usd else unpriced.removeprefix(" + ")

    async def connect(self) -> "Chat":
        """The client."""
        if self._chat is None:
            # The modules alone take a moment to import; a key must not feel it.
            make: Callable[[Api], Chat] = await asyncio.to_thread(_chat_class)
            self._chat = make(self.settings)
        return self._chat

    async def close(self) -> None:
        """Disconnect."""
        if self._chat is not None:
            await self._chat.close()


def _chat_class() -> "type[Chat]":
    from vlmscope.core.llm.client import Chat

    return Chat
