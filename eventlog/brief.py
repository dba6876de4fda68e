"""Settings of clients that live for one question.

Guarantees:
- The first answer takes as long as the broker does: by itself the client puts its first connection off for
  50 ms, to find out whether another would do (measured with librdkafka 2.x; `enable.sparse.connections`).
"""

from typing import Any

BRIEF: dict[str, Any] = {"enable.sparse.connections": False, "log_level": 0}
