"""From `pip inspect` on standard input to a bill of materials in CycloneDX 1.6 on standard output, both JSON."""

import json
import re
import sys
from typing import Any

WHOLE = "metagen-llm"


def read_component(metadata: dict[str, Any]) -> dict[str, Any]:
    """One distribution, with its licence where it names one."""
    name, version = normalize(metadata["name"]), metadata["version"]
    purl = f"pkg:pypi/{name}@{version}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licence := metadata.get("license_expression"):
        return component | {"licenses": [{"expression": licence}]}
    licences = [each for each in metadata.get("classifier", ()) if each.startswith("License ::")]
    names = [{"license": {"name": each.rpartition(" :: ")[2]}} for each in licences]
    return component | ({"licenses": names} if names else {})


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_dependencies(installed: list[dict[str, Any]], refs: dict[str, str]) -> list[dict[str, Any]]:
    """What each distribution requires of those that are installed, extras included."""
    return [
        {
            "ref": refs[normalize(each["name"])],
            "dependsOn": sorted({refs[name] for name in required(each) & refs.keys()}),
        }
        for each in installed
    ]


def required(metadata: dict[str, Any]) -> set[str]:
    return {normalize(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in metadata.get("requires_dist", ())}


def write_bill(report: dict[str, Any]) -> dict[str, Any]:
    installed = [each["metadata"] for each in report["installed"]]
    components = sorted(map(read_component, installed), key=lambda each: str(each["name"]))
    refs = {component["name"]: component["bom-ref"] for component in components}
    bill: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    whole = [component for component in components if component["name"] == WHOLE]
    return bill | {
        "metadata": {"component": whole[0] | {"type": "application"}} if whole else {},
        "components": [component for component in components if component["name"] != WHOLE],
        "dependencies": read_dependencies(installed, refs),
    }


if __name__ == "__main__":
    json.dump(write_bill(json.load(sys.stdin)), sys.stdout, indent=1)
