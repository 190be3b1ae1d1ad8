"""The controllers of the main screen, and what they share: background work, and links to model, notebook and API."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from vlmscope.core.base.config import Config
from vlmscope.tui import keys
from vlmscope.tui.browse.ablate import AblateControl
from vlmscope.tui.browse.api_link import ApiLink
from vlmscope.tui.browse.batch import BatchControl
from vlmscope.tui.browse.check import CheckControl
from vlmscope.tui.browse.consent import ConsentControl
from vlmscope.tui.browse.explain import ExplainControl
from vlmscope.tui.browse.find import FindControl
from vlmscope.tui.browse.follow import FollowControl
from vlmscope.tui.browse.model import ModelControl
from vlmscope.tui.browse.model_link import ClientFactory, ModelLink
from vlmscope.tui.browse.notebook import NotebookControl
from vlmscope.tui.browse.notebook_link import NotebookLink
from vlmscope.tui.browse.pace import Pace
from vlmscope.tui.browse.place import PlaceControl
from vlmscope.tui.browse.pointing import PointControl
from vlmscope.tui.browse.promoted import PromotedControl
from vlmscope.tui.browse.running import Running
from vlmscope.tui.browse.score import ScoreControl
from vlmscope.tui.browse.session import Session
from vlmscope.tui.browse.sheet import SheetControl
from vlmscope.tui.browse.tasks import Tasks
from vlmscope.tui.browse.texts import TextReader
from vlmscope.tui.browse.triage import TriageControl, TriageKeys
from vlmscope.tui.browse.view import ViewControl
from vlmscope.tui.messages import Notice, Post
from vlmscope.tui.views.state import AfterVerdict


class Controllers:
    """Each is made once; together they read the notebook, stop, and close.

    Attributes:
        tasks: finished when the program ends.
        requests: can be stopped; cancelled when the program ends.
    """

    def __init__(
        self,
        session: Session,
        config: Config,
        factory: ClientFactory,
        pace: Pace,
        post: Post,
        guard: Callable[[], AbstractContextManager[None]],
        terminal: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Nothing is started yet.

        Args:
            guard: notifies the user of failures of background work.
            terminal: lends the terminal to an editor.
        """
        keep, undo, allow = (keys.keys_of(name, config.keys)[0] for name in ("verdict.keep", "undo", "allow"))
        store = session.store
        self.session = session
        self._post = post
        self.tasks = tasks = Tasks(guard)
        self.requests = Tasks(guard)
        self.model_link = ModelLink(store.manifest, config, factory, allow)
        self.notebook_link = book = NotebookLink(
            store.manifest.scan_id, store.folder, config.notebooks, poled=store.numbering.poled
        )
        self.api_link = ApiLink(config.api)
        model = (session, self.model_link, post, self.requests, pace.ask_after_s)
        asked = (session, post, self.requests, self.api_link)
        api = (session, post, book, self.model_link, self.api_link)
        self.model = ModelControl(*model)
        self.promoted = PromotedControl(*model)
        self.consent = ConsentControl(session, self.model_link, post)
        self.explain = ExplainControl(Running("explain", "explaining", *asked), *api)
        self.score = ScoreControl(Running("score", "scoring", *asked), *api, config)
        self.ablate = AblateControl(session, self.model_link, book, post, self.requests, pace.ask_after_s)
        self.check = CheckControl(Running("check", "checking", *asked), session, post, book, self.model_link)
        self.batch = BatchControl(session, post, self.requests, self.explain, self.score, self.check)
        self.point = PointControl(session, self.model_link, post, self.requests)
        self.sheet = SheetControl(session, post, tasks)
        self.notebook = NotebookControl(session, book, post, tasks)
        self.find = FindControl(session, TextReader(session, book), post, tasks, pace.small)
        self.view = ViewControl(session, self.find, post, tasks)
        self.triage = TriageControl(
            session,
            book,
            post,
            tasks,
            terminal,
            TriageKeys(keep, undo),
            self.notebook,
            AfterVerdict(config.after_verdict),
        )
        self.place = PlaceControl(session, book, post, self.find.select)
        self.follow = FollowControl(session, post, tasks)

    def read_notebook(self) -> None:
        """Go to the place where the last session ended, and read all marks."""

        async def read() -> None:
            await self.place.resume()
            await self.notebook.read_marks()
            await self.find.refresh()

        self.tasks.run_task(self.notebook.reported_once(read()))

    def look(self) -> None:
        """Read what others wrote to the notebook, and keep the session's place."""

        async def look() -> None:
            await self.notebook.look()
            await self.find.refresh()
            await self.place.keep()

        self.tasks.run_task(self.notebook.reported_once(look()))

    def read_entry(self) -> None:
        """Read what the notebook holds on the page's neuron."""
        self.tasks.run_task(self.notebook.reported_once(self.notebook.read_entry()))

    def stop(self) -> bool:
        """Stop all that runs, and notify the user of what that was; False if nothing runs."""
        if not self.session.scene.working:
            return False
        running = (self.explain.running, self.score.running, self.check.running)
        batch = self.batch.stop()
        stopped = [*batch, *(words for one in running for words in one.stop())]
        self.tasks.run_task(self.model_link.stop())
        what = ", ".join(stopped) or "what the model did for the page"
        kept = " Nothing of it is kept; what was finished before is." if stopped else ""
        kept = " What is done is kept." if batch else kept
        self._post(Notice(f"Stopped: {what}.{kept}", None))
        return True

    async def close(self) -> None:
        """Stop the model and the requests, and finish what is being saved."""
        self.requests.cancel()
        await self.place.close()
        await self.requests.finish()
        await self.tasks.finish()
        await self.model_link.close()
        await self.api_link.close()
        await self.notebook_link.close()
