"""Saved views on the screen: chosen, shown, saved, forgotten."""

from dataclasses import dataclass, replace

from vlmscope.tui.browse.find import FindControl
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.messages import AskChoice, Choice, Notice, Post
from vlmscope.tui.views.saved import SavedView, delete_view, save_view, saved_view, saved_views
from vlmscope.tui.views.state import Listed


@dataclass(eq=False)
class ViewControl:
    """Reads and writes saved views; ``find`` lists what they hold."""

    session: Session
    find: FindControl
    post: Post
    tasks: Tasks

    def choose(self) -> AskChoice | None:
        """Ask which saved view to show."""
        from vlmscope.tui.dialogs.choice import by_letter

        views, now = saved_views(), self._view
        if not views:
            self.post(Notice("There is no saved view yet: :save-view NAME saves filter, order and thresholds."))
            return None
        named = by_letter(views)
        choices = [
            Choice(letter, f"{name}  {view_words(views[name])}", views[name] == now) for letter, name in named.items()
        ]
        return AskChoice("saved views", choices, lambda letter: self.tasks.run_task(self.show(named[letter])))

    async def show(self, name: str) -> None:
        """List what a saved view holds, at its thresholds; the list of before can be gone back to.

        Raises:
            UsageError: if there is no such view. StoreError, NotebookError: as ``select``.
        """
        view, now = saved_view(name), self.session.state
        left = now.left or Listed(now.filter, now.order)
        listed = view.listed
        await self.find.show_list(replace(now, filter=listed.filter, order=listed.order, left=left))
        at = view.at(self.session.store)
        if at != self.session.wanted:
            self.find.relabel(at)

    def save(self, name: str) -> None:
        """Save the list's filter and order, and the thresholds.

        Raises:
            UsageError: as ``saved.save_view``.
        """
        view = self._view
        again = save_view(name, view)
        self.post(Notice(f"The view {name} is saved{' again' if again else ''}: {view_words(view)}."))

    def delete(self, name: str) -> None:
        """Forget a saved view. Raises UsageError as ``saved.delete_view``."""
        delete_view(name)
        self.post(Notice(f"The view {name} is forgotten."))

    @property
    def _view(self) -> SavedView:
        state, at = self.session.state, self.session.wanted
        own = self.session.store.manifest.thresholds.value()
        return SavedView(Listed(state.filter, state.order), None if at == own else at)


def view_words(view: SavedView) -> str:
    """A saved view in one line."""
    at, (filter_, order) = view.thresholds, (view.listed.filter, view.listed.order)
    limits = "" if at is None else f" · Tv {at.T_v:g} nv {at.n_v} Tt {at.T_t:g} nt {at.n_t}"
    return f"{filter_.line or 'all'} · by {order}{limits}"
