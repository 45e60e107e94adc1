"""The bill of materials lists what is installed, in CycloneDX's form."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / ".ci/sbom.py"


def bill(*metadata: dict[str, Any]) -> Any:
    report = json.dumps({"installed": [{"metadata": each} for each in metadata]})
    done = subprocess.run([sys.executable, SCRIPT], input=report, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_bill_names_packages_licences_and_who_needs_whom() -> None:
    found = bill(
        {"name": "metagen-llm", "version": "1", "requires_dist": ["One_Thing>=2", 'absent; extra == "x"']},
        {"name": "one.thing", "version": "2", "license_expression": "MIT"},
        {"name": "two", "version": "3", "classifier": ["License :: OSI Approved :: BSD License"]},
    )
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["purl"] == "pkg:pypi/metagen-llm@1"
    assert [(each["name"], each["version"], each["licenses"]) for each in found["components"]] == [
        ("one-thing", "2", [{"expression": "MIT"}]),
        ("two", "3", [{"license": {"name": "BSD License"}}]),
    ]
    assert found["dependencies"][0] == {"ref": "pkg:pypi/metagen-llm@1", "dependsOn": ["pkg:pypi/one-thing@2"]}


def test_every_reference_of_this_environments_bill_is_there() -> None:
    call = [sys.executable, "-m", "pip", "inspect"]
    report = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    found = bill(*(each["metadata"] for each in report["installed"]))
    refs = {each["bom-ref"] for each in (*found["components"], *filter(None, [found["metadata"].get("component")]))}
    assert "pkg:pypi/pydantic" in {ref.partition("@")[0] for ref in refs}
    assert {each["ref"] for each in found["dependencies"]} == refs
    assert {ref for each in found["dependencies"] for ref in each["dependsOn"]} <= refs
