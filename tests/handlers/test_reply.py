"""The packed reply: whatever is packed can be read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from handlers import attn_wire
from handlers.attn_wire import Reply

if TYPE_CHECKING:
    from tests.handlers.conftest import Unpack

_ANY_TEXT = st.text(st.characters(exclude_categories=[]))


# The fixture is a plain function, so that it may be shared by all examples.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    outputs=st.integers(1, 4).flatmap(
        lambda count: st.dictionaries(
            st.sampled_from(attn_wire.OUTPUTS),
            hnp.arrays(np.float32, st.tuples(st.just(count), st.integers(1, 5))),
            min_size=1,
        )
    ),
    message=_ANY_TEXT,
    microseconds=st.integers(0, 1 << 53),
)
def test_replies_read_back_as_written(
    unpack: Unpack, outputs: dict[str, NDArray[np.float32]], message: str, microseconds: int
) -> None:
    """Arrays of any width keep every bit; half surrogates in a message become valid UTF-8."""
    count = len(next(iter(outputs.values())))
    reply = Reply(
        status=[3] + [0] * (count - 1),
        messages={0: message},
        outputs=outputs,
        timings_us={"decode": microseconds},
        device="cpu",
    )
    answer = unpack(attn_wire.encode_reply(reply))
    assert answer.header["count"] == count
    assert answer.header["status"] == [3] + [0] * (count - 1)
    assert answer.header["messages"] == {"0": message.encode("utf-8", "replace").decode()}
    assert answer.header["timings_us"] == {"decode": microseconds}
    assert {name: array.tobytes() for name, array in answer.arrays.items()} == {
        name: array.tobytes() for name, array in outputs.items()
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=_ANY_TEXT)
def test_errors_read_back_as_written(unpack: Unpack, message: str) -> None:
    """A refusal is a frame without arrays, whatever its text."""
    answer = unpack(attn_wire.encode_error(3, message))
    expected = message.encode("utf-8", "replace").decode()
    assert answer.header == {"count": 0, "error": {"code": 3, "message": expected}}
    assert answer.arrays == {}
