"""The samples of a pool: found by request and number, read from the file when they are wanted."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from metagen.disk.files import check_ours, replace_text
from metagen.disk.lines import Appender
from metagen.disk.pool import Key, Sample, is_list, key, place_of, plainly, read_sample, read_samples, sample_key
from metagen.errors import InputError, StorageError
from metagen.request import Request
from metagen.settings import as_str
from metagen.thinking import Family, switched

_RECORD = re.compile(rb'\A((?:/[^\n]*|[^\n]+ \(shipped\))?)\n?(?:(\{"asked": [^\n]*)\n?)?\Z')
"""What `claim` writes: the folder of a model or the name of one that ships, and in the next line how it was asked."""
_NONE: dict[int, int] = {}
LOOSER = ((True, False), (False, True), (True, True))
"""What a sample may serve: any settings, any prompt, or both; in this order it is looked for."""


class Samples:
    """An index of the file of a pool. In memory, a sample is its number and the place where its line begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.longest = 0
        """The most tokens that a prompt and its completion have together."""
        self.writer = ""
        """The name of a model that samples are of, where they say it."""
        self._writers: dict[str, int] = {}
        """The line of the first sample of each model that samples are of."""
        self._extras: list[tuple[dict[str, Any], int]] = []
        """What servers were given with every request, where samples say it, and the line of the first of each."""
        self._places: dict[Key, dict[int, int]] = {}
        self.thought_alone = False
        """Whether some sample is a thought that was drawn by itself."""
        self.family: Family | None = None
        """Whose thinking was switched on or off for some samples."""
        self._looser: set[tuple[bool, bool]] = set()
        """Those of `LOOSER` that some sample is."""
        self._held: list[Sample] = []
        """Those of a JSON list, which cannot be read one by one; their places are their numbers in it."""

    def load(self, *, torn: bool = False) -> None:
        """Read the index anew; the file may end torn, if that is said.

        Raises `InputError`, naming the line, for what is no pool, and for two equal samples.
        """
        self._places.clear()
        self._held.clear()
        self._looser.clear()
        self._writers.clear()
        self._extras.clear()
        for line, start, sample in read_samples(self.path, torn=torn):
            places = self._places.setdefault(sample_key(sample), {})
            if sample.number in places:
                where = place_of(self.path, line)
                raise InputError(f"{where}: sample {sample.number} of this request is here for the second time")
            if sample.model:
                self._writers.setdefault(sample.model, line)
            if sample.extra is not None and all(sample.extra != extra for extra, _ in self._extras):
                self._extras.append((sample.extra, line))
            self._add(places, sample, start)
            self.writer = self.writer or sample.model
            if is_list(self.path):
                self._held.append(sample)

    def check_writer(self, model: str) -> None:
        """Raise `InputError`, naming the line, if there are samples of another model."""
        for name, line in self._writers.items():
            if model not in ("", name):
                where = place_of(self.path, line)
                raise InputError(f"{where}: was drawn from {name}, and this is {model}: give another pool")

    def check_extra(self, extra: Mapping[str, Any] | None) -> None:
        """Raise `InputError`, naming the line, if samples of a server were drawn with other fields than these."""
        for drawn, line in self._extras:
            if extra is not None and drawn != plainly(extra):
                raise InputError(
                    f"{place_of(self.path, line)}: was drawn with extra={drawn}, and this server has "
                    f"extra={plainly(extra)}: give another pool"
                )

    def claim(self, origin: str, asked: Mapping[str, Any]) -> None:
        """Keep in `NAME.model`, beside a pool that has no samples yet, which model draws them and how it is asked.

        A pool that has samples and no such record is taken as it is. Raises `InputError` if it is of another model or
        was asked otherwise, or if a file of this name is none of ours.
        """
        record = _record_of(self.path)
        origin = origin.encode(errors="backslashreplace").decode()  # as it is written
        text = f"{origin}\n" + (json.dumps({"asked": dict(asked)}, default=str) + "\n" if asked else "")
        known = record.read_bytes() if os.path.isfile(record) else b""
        if not self._places and known.strip() != text.strip().encode():
            check_ours(record, _RECORD)
            replace_text(record, text)
        elif found := _RECORD.match(known):
            self._refuse_other(found[1].decode(errors="replace"), origin, record)
            self._refuse_asked(_asked(found[2]), _asked(text.partition("\n")[2]), record)

    def _refuse_other(self, known: str, origin: str, record: Path) -> None:
        if known and origin and known != origin:
            raise InputError(
                f"{self.path}: was drawn from {known}, and this is {origin}: give another pool, or if both are the "
                f"same model, remove {record}"
            )

    def _refuse_asked(self, known: Mapping[str, Any], asked: Mapping[str, Any], record: Path) -> None:
        for name in sorted((known.keys() | asked.keys()) - {"given"}) if known and asked else ():
            if (there := known.get(name)) != (here := asked.get(name)):
                raise InputError(
                    f"{self.path}: its samples differ in {name}: {there} there, {here} here. Give the same or another "
                    f"pool, or if that changes no sample, remove {record}"
                )

    def append(self, samples: Sequence[Sample], file: Appender) -> None:
        """Write samples to the end of the file, and know them from now on."""
        starts = file.write(msgspec.to_builtins(each, enc_hook=as_str) for each in samples)
        for sample, start in zip(samples, starts, strict=True):
            self._add(self._places.setdefault(sample_key(sample), {}), sample, start)

    def find(self, request: Request, draws: Iterable[int]) -> dict[int, Sample]:
        """Those of a request's samples with these numbers that there are, by number."""
        anywhere, own = self._of(request)
        places = {draw: own.get(draw, anywhere.get(draw)) for draw in draws}
        return self._read({draw: place for draw, place in places.items() if place is not None})

    def first(self, request: Request) -> Sample | None:
        """Any sample of a request."""
        places = (place for places in self._of(request) for place in places.items())
        return next(iter(self._read(dict(islice(places, 1))).values()), None)

    def count(self, request: Request) -> int:
        """How many samples of a request there are."""
        anywhere, own = self._of(request)
        return len(anywhere.keys() | own.keys())

    def has(self, request: Request, draw: int) -> bool:
        """Whether this sample was drawn with these very settings."""
        return draw in self._of(request)[1]

    def _of(self, request: Request) -> tuple[dict[int, int], dict[int, int]]:
        """Places by number: of samples that serve any settings, and of those with the request's own."""
        keys = (
            key(request, any_sampling=sampling, any_prompt=prompt)
            for sampling, prompt in sorted(self._looser, key=LOOSER.index)
        )
        anywhere = next((self._places[each] for each in keys if each in self._places), _NONE)
        return anywhere, self._places.get(key(request), _NONE)

    def _add(self, places: dict[int, int], sample: Sample, start: int) -> None:
        sampling = sample.sampling or {}
        self.thought_alone |= bool(sampling.get("thought_only"))
        if self.family is None and (options := sampling.get("chat_template_kwargs")):
            self.family = switched(options)
        if None in (sample.sampling, sample.prompt):
            self._looser.add((sample.sampling is None, sample.prompt is None))
        places[sample.number] = start
        self.longest = max(self.longest, sample.prompt_tokens + sample.tokens)

    def _read(self, places: Mapping[int, int]) -> dict[int, Sample]:
        if not places:
            return {}
        if self._held:
            return {draw: self._held[place] for draw, place in places.items()}
        try:
            with self.path.open("rb") as file:
                return {draw: self._line(file, place) for draw, place in places.items()}
        except (OSError, InputError) as error:
            raise StorageError(f"{self.path}: was changed or taken away while it was in use ({error})") from None

    def _line(self, file: BinaryIO, place: int) -> Sample:
        file.seek(place)
        return read_sample(file.readline(), self.path)


def _record_of(pool: Path) -> Path:
    return pool.with_name(f"{pool.name}.model")


def read_claim(pool: Path) -> tuple[str, dict[str, Any]]:
    """Which model drew a pool and how it was asked, as far as `claim` kept it: its origin, which may be empty."""
    record = _record_of(pool)
    found = _RECORD.match(record.read_bytes()) if os.path.isfile(record) else None
    return (found[1].decode(errors="replace"), _asked(found[2])) if found else ("", {})


def _asked(line: str | bytes | None) -> dict[str, Any]:
    """How a model was asked, from the line of a record; nothing where it does not tell."""
    try:
        told = json.loads(line or "{}")["asked"]
    except (ValueError, LookupError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def read_given(pool: Path) -> tuple[str, list[Path]]:
    """What `--model` and `--load` were given to draw a pool, as far as `claim` kept it: maybe nothing."""
    given = read_claim(pool)[1].get("given")
    model, files = (given.get("model"), given.get("load")) if isinstance(given, dict) else (None, None)
    is_whole = isinstance(model, str) and isinstance(files, list) and all(isinstance(each, str) for each in files)
    return (str(model), [Path(each) for each in files or ()]) if is_whole else ("", [])
