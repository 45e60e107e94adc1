"""LiteLLM's client calls our server: python litellm_client.py URL."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would look for prices on the network

import litellm  # type: ignore[import-not-found, unused-ignore]

ASKED = {
    "model": "openai/math",
    "api_base": sys.argv[1],
    "api_key": "none",
    "messages": [{"role": "user", "content": "What is 3 + 4?"}],
}

reply = litellm.completion(**ASKED)
assert reply.choices[0].message.content == "The answer is 7."
assert reply.usage.completion_tokens == 64
pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**ASKED, stream=True)]
assert "".join(pieces) == "The answer is 7."
try:
    litellm.completion(**{**ASKED, "model": "openai/none"})
except litellm.NotFoundError:
    sys.stdout.write("LiteLLM: all is well\n")
