"""Installs clients of other projects into build/clients, and lets them call our server: `make clients`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "clients"
OPENAI, LITELLM = "openai@6", "litellm"
SERVE = ("serve", "--model", "Scripted:The answer is 7.", "--alias", "math=Vote(4)", "--port", "0")


def main() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    script = BUILD / "openai_client.mjs"
    script.write_text((HERE / "openai_client.mjs").read_text())
    subprocess.run(["npm", "install", "--silent", "--no-save", "--prefix", str(BUILD), OPENAI], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(BUILD / "venv")], check=True)
    subprocess.run([BUILD / "venv/bin/pip", "install", "--quiet", LITELLM], check=True)
    with subprocess.Popen([sys.executable, "-m", "metagen", *SERVE], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            url = server.stdout.readline().removeprefix("Serving at ").strip()
            subprocess.run(["node", script, url], check=True)
            subprocess.run([BUILD / "venv/bin/python", HERE / "litellm_client.py", url], check=True)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
