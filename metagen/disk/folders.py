"""The files behind what a user names: one file, those that a pattern matches, or the folder of a dataset.

Folders are read as Hugging Face has them: as `Dataset.save_to_disk` writes them, and as they lie on the Hub, where
the names of files and folders say which split each is of.
"""

import glob
import json
import os
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from metagen.errors import InputError

DATA = re.compile(r"\.(jsonl|json|csv|tsv|parquet|arrow)(\.(gz|bz2|xz|zst|zstd))?\Z", re.IGNORECASE)
"""The ends of names of files that hold rows."""
ABOUT = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Files of a folder that are about its rows."""
SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}")
"""How the Hub calls the files of one split."""
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Splits, and the words in names that stand for them."""
SPLITS = {word: split for split, words in WORDS.items() for word in words}


def find_files(path: Path, split: str = "") -> list[Path]:
    """The files of rows, in the order of their names.

    Raises `InputError` if there is none, and if it is open which split is meant.
    """
    if os.path.isdir(path):
        return _in_folder(path, split)
    if not os.path.exists(path):  # unlike `Path.exists`, it takes a name of any length
        return _matching(path, split)
    if split:
        raise InputError(f"{path}: is one file, and --split is for the folder of a dataset: leave it out")
    return [path]


def would_find(path: Path, file: Path) -> bool:
    """Whether a file of this name is or would be among those behind `path`, of whichever split."""
    named, file = Path(os.path.realpath(path)), Path(os.path.realpath(file))
    if os.path.isdir(named):
        return file.is_relative_to(named) and _holds_rows(file, named) and bool(_problems([file]))
    return file == named or _fits(file.parts, named.parts)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a pattern, in which `**` matches any number of them."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    is_like = bool(parts) and (parts[0] == pattern[0] or fnmatchcase(parts[0], pattern[0]))
    return is_like and _fits(parts[1:], pattern[1:])


def _matching(pattern: Path, split: str) -> list[Path]:
    """The files that a pattern such as `data/*.jsonl` matches."""
    if not glob.has_magic(str(pattern)):
        raise InputError(f"{pattern}: there is no such file")
    matching = map(Path, glob.glob(str(pattern), recursive=True))
    found = _problems(sorted(each for each in matching if os.path.isfile(each)))
    if not found:
        raise InputError(f"{pattern}: no file matches (files of runs and sweeps do not count)")
    return _of_split(pattern, found, split) if split else found


def _in_folder(folder: Path, split: str) -> list[Path]:
    if (folder / "dataset_dict.json").exists():
        return _saved(folder / _chosen(folder, _names(folder / "dataset_dict.json", "splits"), split))
    if (folder / "state.json").exists():
        if split:
            raise InputError(f"{folder}: is one split, so --split sets nothing: leave it out")
        return _saved(folder)
    found = _problems(each for each in sorted(folder.rglob("*")) if _holds_rows(each, folder) and each.is_file())
    if not found:
        raise InputError(
            f"{folder}: is a folder without JSON Lines, CSV, TSV, Parquet or Arrow: name a file of problems"
        )
    return _of_split(folder, found, split)


def _holds_rows(file: Path, folder: Path) -> bool:
    """Whether a file in a folder, or below it, is one of rows by its name, and not hidden."""
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return bool(DATA.search(file.name)) and file.name not in ABOUT and not is_hidden


def _problems(files: Iterable[Path]) -> list[Path]:
    """The files that are neither in the folder of a run, nor beside runs as the pools and the table of a sweep."""
    is_run, has_runs = cache(_is_run), cache(_has_runs)  # a folder may hold many thousands of files

    def is_of_sweep(file: Path) -> bool:
        return (file.parent.name == "pools" and has_runs(file.parent.parent)) or (
            file.stem == "sweep" and has_runs(file.parent)
        )

    return [each for each in files if not is_run(each.parent) and not is_of_sweep(each)]


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run: a dataset may have a `run.json` of its own."""
    return all(os.path.isfile(folder / name) for name in ("run.json", "solutions.jsonl"))


def _has_runs(folder: Path) -> bool:
    return any(_is_run(each.parent) for each in folder.glob("*/run.json"))


def _of_split(named: Path, files: Sequence[Path], split: str) -> list[Path]:
    """Those of the split that is meant."""
    splits = {file: _split_of(file.relative_to(named) if file.is_relative_to(named) else file) for file in files}
    chosen = _chosen(named, splits.values(), split)
    found = [file for file in files if splits[file] == chosen]
    if len(folders := sorted({str(file.parent) for file in found})) > 1:
        raise InputError(f"{named}: holds this split in several folders: name one of {', '.join(folders)}")
    return found


def _split_of(file: Path) -> str:
    """The split that a file is of: by its number among the shards, else by a word in its name or in its folders'."""
    if shard := SHARD.match(file.name):
        return SPLITS.get(shard[1], shard[1])
    for part in reversed((*file.parent.parts, file.name)):
        if split := next((SPLITS[word] for word in re.findall(r"[a-z]+", part.lower()) if word in SPLITS), ""):
            return split
    return "train"


def _chosen(named: Path, splits: Iterable[str], split: str) -> str:
    """The split that is asked for, or the only one."""
    there = list(dict.fromkeys(splits))
    if not split and len(there) == 1:
        return there[0]
    meant = split if split in there else SPLITS.get(split, split)
    if meant not in there:
        asked = f"has no split {split!r}: it has" if split else "has several splits: name one as the split (--split):"
        raise InputError(f"{named}: {asked} {', '.join(there)}")
    return meant


def _saved(folder: Path) -> list[Path]:
    """The files of one split, as `Dataset.save_to_disk` lists them."""
    return [folder / name for name in _names(folder / "state.json", "_data_files", "filename")]


def _names(path: Path, field: str, inner: str = "") -> list[str]:
    """Names of files and folders that stand in a file of JSON; none of them leads out of its folder."""
    try:
        listed: Any = json.loads(path.read_bytes())[field]
        names = [each[inner] if inner else each for each in listed]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: is not what `save_to_disk` of datasets writes: {error!r}") from None
    if bad := next((name for name in names if not isinstance(name, str) or Path(name).name != name), None):
        raise InputError(f"{path}: field {field!r}: {bad!r} is no name of a file in this folder")
    return names
