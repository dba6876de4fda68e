"""What can go wrong with the event log, one line each: what, where, what to do.

Guarantees:
- Whatever the client libraries raise leaves this package as one of these.
- `LogUnavailable` means that trying again later can help; the others need a person or other arguments.
"""


class LogError(RuntimeError):
    """Anything that the event log could not do."""


class LogUnavailable(LogError):
    """No broker answered in time."""


class NoSuchTopic(LogError):
    """A topic that was asked about does not exist."""


class BrokerNotStarted(LogError):
    """A broker of ours did not come up."""


class ProduceFailed(LogError):
    """Something handed over was not acknowledged; treat all since the last flush as not written."""


class ReadFailed(LogError):
    """A range of a lane could not be read to its end."""
