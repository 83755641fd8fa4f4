"""The one kind of error that a user can cause or meet: what is wrong, and what to do about it."""


class Refusal(Exception):
    """Bad input or settings (exit status 2), or something that the system refused (exit status 1).

    `message` says what is wrong, `hint` what to do; both are one line and hold no control characters
    (build them with `text.shown`).
    """

    def __init__(self, message: str, hint: str, status: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
