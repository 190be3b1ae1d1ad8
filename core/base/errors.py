"""Every failure that vlmscope explains to its user.

    VlmscopeError            exit 1; title, message, and what to do next
    |-- UsageError           exit 2; a value that was typed is wrong (address, threshold, option)
    |-- StoreError           a scan that cannot be read or written
    |-- SamplesError         images or descriptions that cannot be used
    |-- NotebookError        a notebook that cannot be opened, read or written
    |-- ReportError          a report that cannot be written
    |-- RanksError           the processes of one scan cannot continue together
    |-- ModelError           a model that cannot be loaded or inspected
    |-- WorkerError          the model process failed or gave an invalid answer
    |   `-- Cancelled        it was stopped because the user asked for it
    `-- ApiError             a request to the server that explains failed
        |-- NoResponse       it got no answer, in several tries: the same request may succeed later
        |-- StopRun          no further request would succeed: the key, its rights or its quota
        `-- BudgetReached    a further request would cost more than the session's budget

Any other exception that escapes is a defect, and is shown with its traceback.
"""


class VlmscopeError(Exception):
    """A failure with its reason and a hint.

    Args:
        message: what is wrong, naming the file or value.
        hint: what the user can do about it; may be empty.
    """

    title = "vlmscope cannot continue"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(VlmscopeError):
    title = "Wrong use"
    exit_code = 2


class StoreError(VlmscopeError):
    title = "The scan cannot be used"


class SamplesError(VlmscopeError):
    title = "The samples cannot be used"


class NotebookError(VlmscopeError):
    title = "The notebook cannot be used"


class ReportError(VlmscopeError):
    title = "The report cannot be written"


class RanksError(VlmscopeError):
    title = "The processes cannot continue together"


class ModelError(VlmscopeError):
    title = "The model cannot be used"


class WorkerError(VlmscopeError):
    title = "The model process failed"


class Cancelled(WorkerError):  # noqa: N818  # it is not an error: the user asked for it
    title = "Stopped"


class ApiError(VlmscopeError):
    title = "The request for an explanation failed"


class NoResponse(ApiError):  # noqa: N818  # as StopRun
    title = "The server does not answer"


class StopRun(ApiError):  # noqa: N818  # named after its consequence
    title = "The server does not accept requests"


class BudgetReached(ApiError):  # noqa: N818  # as StopRun
    title = "The budget is reached"
