"""What all actions of the main screen need of it."""

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from textual.screen import Screen

from vlmscope.core.base.config import Config
from vlmscope.tui.browse.controllers import Controllers
from vlmscope.tui.browse.count import Count
from vlmscope.tui.browse.posts import Posts
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import Ask
from vlmscope.tui.views.scene import Changed
from vlmscope.tui.widgets.palette import Palette

if TYPE_CHECKING:
    from vlmscope.tui.browse.typed_lines import TypedLines


class Actions(Screen[None]):
    """The screen has what its actions need."""

    config: Config
    session: Session
    palette: Palette
    controllers: Controllers
    posts: Posts
    typed_lines: "TypedLines"
    count: Count

    @abstractmethod
    def show(self, changed: Changed) -> None:
        """Paint parts of the screen."""
        ...

    @abstractmethod
    async def ask(self, question: Ask | None) -> None:
        """Open a question's dialog."""
        ...

    @abstractmethod
    def guard(self) -> AbstractContextManager[None]:
        """Where failures end: the user is notified."""
        ...

    @abstractmethod
    def times(self) -> int:
        """How often a move is made."""
        ...
