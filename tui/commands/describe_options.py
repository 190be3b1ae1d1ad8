"""The server that describes pictures: its options, and whether the user agrees to its cost."""

from dataclasses import dataclass
from typing import Annotated

import typer

from vlmscope.core.base.config import GivenServer, load_config
from vlmscope.core.base.errors import ApiError, UsageError
from vlmscope.core.base.text import counted
from vlmscope.core.data.describing import undescribed
from vlmscope.core.data.samples import Data
from vlmscope.core.llm.access import base_url, host, key_problem
from vlmscope.core.llm.budget import CostOffer
from vlmscope.tui.commands.shared.neuron_run import agree
from vlmscope.tui.commands.shared.notes import Notes

SERVER = "Describing by a server"


@dataclass(frozen=True)
class ServerOptions:
    """The server that writes descriptions in place of the model, as far as it was typed."""

    url: Annotated[
        str | None,
        typer.Option(
            "--describe-with",
            metavar="URL",
            help="A server that speaks Chat Completions, such as vLLM, writes the descriptions.",
            rich_help_panel=SERVER,
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--describe-model",
            metavar="NAME",
            help="What the server calls the model that describes; default: --model.",
            rich_help_panel=SERVER,
        ),
    ] = None
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Do not ask before paid descriptions.", rich_help_panel=SERVER),
    ] = False

    def server(self, model: str) -> GivenServer | None:
        """The server; None where none was named. ``model``: what it serves unless --describe-model names another.

        Raises:
            UsageError: if the address is not a URL, or there is no name of a model.
        """
        if self.url is None:
            if self.model is not None:
                raise UsageError("--describe-model needs a server.", "Name it with --describe-with URL.")
            return None
        name = (self.model or model).strip()
        if not name:
            raise UsageError("The server's model has no name.", "Name it with --describe-model NAME.")
        settings = GivenServer.model_validate(
            {**load_config().api.model_dump(), "base_url": self.url.strip() or "-", "model": name}
        )
        base_url(settings)
        return settings

    def agree(self, server: GivenServer, data: Data, question: str, notes: Notes) -> None:
        """Write what the server is asked for; where that has a price, ask whether the user agrees to it.

        Raises:
            ApiError: if no request can be sent.
            UsageError, typer.Exit: as ``shared.neuron_run.agree``.
        """
        missing = len(undescribed(data))
        if not missing:
            return
        from vlmscope.core.scan.served import describe_cost  # late: it imports torch

        if problem := key_problem(server):
            raise ApiError(problem, "Without --describe-with the scanned model writes the descriptions.")
        offer = CostOffer(describe_cost(data, question, server), server)
        what = f"{counted(missing, 'picture')} to describe with {server.model} at {host(server)}"
        if offer.cost.usd is None:
            notes.write(f"{what}; those that are in the cache are not asked for")
        else:
            agree(offer, f"{what}: {offer.short}", "described", notes, self.yes)
