"""What a scan from elsewhere needs a yes for: a model that would be downloaded, and pictures that nothing checks."""

from dataclasses import dataclass

from vlmscope.core.base.text import plain
from vlmscope.tui.browse.model_link import ModelLink
from vlmscope.tui.browse.session import Session
from vlmscope.tui.messages import AskConfirm, LoadPage, Notice, Post

SHOWN = 100  #: characters of a name or a path from the manifest


@dataclass(eq=False)
class ConsentControl:
    """Asks once in a session. Until then the scan's own maps and crops serve, and the page has the reason."""

    session: Session
    link: ModelLink
    post: Post

    def ask(self) -> AskConfirm | None:
        """The question, with all that is not agreed to yet; a notice where there is nothing to ask.

        Raises:
            StoreError: if the scan is damaged.
        """
        store, link = self.session.store, self.link
        model = store.manifest.model
        lines: list[str] = []
        if link.needs_consent:
            lines += [
                f"The scan names the model {plain(model.name, SHOWN)}.",
                "It is not on this disk: it is downloaded from the hub, now and for later.",
            ]
        samples = [store.sample(index) for index in store.top_samples(self.session.state.neuron)]
        unchecked = [sample for sample in samples if sample.sha256 is None]
        if unchecked and not store.images_trusted:
            lines += [
                "The scan has no digests of its pictures: whatever file it names is read,",
                "shown to the model, and sent where you ask for an explanation.",
                f"Here: {plain(str(unchecked[0].picture), SHOWN)}",
            ]
        if not lines:
            self.post(Notice("There is nothing to allow: this scan needs no download, and its pictures are checked."))
            return None
        return AskConfirm("allow", lines, self._agreed)

    def _agreed(self) -> None:
        self.link.consented = True
        self.session.store.images_trusted = True
        self.session.answers.forget_problems()
        self.post(LoadPage())
