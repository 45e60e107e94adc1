"""An engine that is not there: what its errors mean."""

from types import SimpleNamespace

import pytest

from metagen import BackendGone, GenerationError, UnfitRequest, VLLMEngine
from metagen.models import SMALL
from tests.support.needs import needs_vllm


def engine_that(*, errored: bool) -> VLLMEngine:
    engine = VLLMEngine(SMALL)
    engine._llm = SimpleNamespace(errored=errored)
    return engine


@pytest.mark.filterwarnings("ignore")  # those of torch, which vLLM loads
def test_what_vllm_refuses_is_told_from_what_it_fails_at() -> None:
    exceptions = pytest.importorskip("vllm.exceptions", reason="needs vLLM")
    engine = engine_that(errored=False)
    for refusal in (ValueError("no schema"), exceptions.VLLMValidationError("no schema")):
        assert isinstance(engine._translated(refusal), UnfitRequest)
    assert type(engine._translated(exceptions.GenerationError("no memory"))) is GenerationError
    assert engine._translated(KeyError("a bug")) is None
    assert isinstance(engine_that(errored=True)._translated(ValueError("no schema")), BackendGone)


@needs_vllm
async def test_an_engine_that_has_ended_does_not_answer_when_it_is_probed() -> None:
    await engine_that(errored=False).probe()
    with pytest.raises(BackendGone, match="has ended"):
        await engine_that(errored=True).probe()
