import json
import zlib
from base64 import b64decode

import pytest

from metagen.view.packing import encoded, pack


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "\ud800 half a pair", "\x00\u2028", "<!--"])
def test_no_text_is_seen_by_html_and_all_come_back(text: str) -> None:
    packed = pack(encoded({"text": [text], text: float("nan")}))
    assert not set(b"<>&\"'") & set(packed)
    value = json.loads(zlib.decompress(b64decode(packed)))
    kept = text.encode(errors="backslashreplace").decode()
    assert value == {"text": [kept], kept: None}
