"""Features and labels from files: npz, npy, csv and parquet.

Samples are rows. What the file holds is returned as it is; whether that makes sense as features is judged elsewhere.
"""

from __future__ import annotations

import fnmatch
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lab.errors import InputError, nearest

__all__ = ["FeatureFile", "load_features"]


class FeatureFile(NamedTuple):
    """Features `Z` (N, d), `labels` (N,), and the names of the array or columns they came from."""

    Z: np.ndarray
    labels: np.ndarray
    features: list[str]
    label: str


def load_features(path: str | Path, *, labels: str, features: str | None = None) -> FeatureFile:
    """Read features and labels.

    Parameters
    ----------
    path : str or Path
        ``.npz``: arrays by name; ``.npy``: one array; ``.csv``, ``.tsv`` (also compressed) and ``.parquet``: columns.
    labels : str
        Array of the npz, column of the table, or an ``.npy`` file of its own (the only way beside an npy).
    features : str, optional
        Array of the npz, by default the only other one with two axes. Of a table: columns separated by commas, patterns
        such as ``z*``, or one column of lists; by default all columns but the labels.

    Returns
    -------
    FeatureFile

    Raises
    ------
    InputError
        If a file, array or column does not exist (with the nearest names), cannot be read, or the choice is not clear.
    """
    path = Path(path)
    _exists(path)
    ending = "".join(path.suffixes[-2:]) if path.suffix in (".gz", ".bz2", ".zip", ".xz") else path.suffix
    kind = ending.lower().split(".")[1] if ending else ""
    if kind == "npz":
        return _from_npz(path, labels, features)
    if kind == "npy":
        if not labels.endswith(".npy"):
            raise InputError(f"{path} holds one array, so labels come from a file of their own: --labels FILE.npy, not "
                             f"{labels!r}")  # fmt: skip
        return FeatureFile(_npy(path), _npy(Path(labels)), [path.name], Path(labels).name)
    if kind in ("csv", "tsv", "parquet", "pq"):
        return _from_table(path, kind, labels, features)
    raise InputError(f"{path} ends in {ending or 'nothing'}: features are read from .npz, .npy, .csv, .tsv or .parquet")


def _exists(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file of features (.npz, .npy, .csv, .parquet)")
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        raise nearest("file", str(path), [str(one) for one in folder.iterdir() if one.is_file()][:1000])


def _load(path: Path) -> Any:
    _exists(path)
    damaged = InputError(f"{path} cannot be read: it is damaged or of another format; save it again with numpy.save(z)")
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):  # numpy would leave the file open
        raise damaged
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        if start.startswith(b"\x93NUMPY"):
            why = "it holds Python objects, or is cut off; save plain arrays"
            raise InputError(f"{path} cannot be read: {why}") from None
        raise damaged from None


def _npy(path: Path) -> np.ndarray:
    array = _load(path)
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an npz archive named .npy; rename it to .npz")
    return array


def _from_npz(path: Path, labels: str, features: str | None) -> FeatureFile:
    archive = _load(path)
    if isinstance(archive, np.ndarray):
        raise InputError(f"{path} is a single array named .npz; rename it to .npy")
    with archive:
        names = list(archive.files)

        def array(name: str) -> np.ndarray:
            if name not in names:
                raise nearest(f"array of {path}", name, names)
            try:
                return archive[name]
            except ValueError:
                raise InputError(f"array {name!r} of {path} holds Python objects; save numbers or texts") from None

        tags = _npy(Path(labels)) if labels.endswith(".npy") and labels not in names else array(labels)
        if features is None:
            others = [name for name in names if name != labels and array(name).ndim == 2]
            if len(others) != 1:
                found = f"arrays {', '.join(others)} have" if others else "no array beside the labels has"
                shapes = ", ".join(f"{name} {array(name).shape}" for name in names)
                raise InputError(f"{path}: {found} two axes; name the features with --features NAME (it has {shapes})")
            features = others[0]
        return FeatureFile(array(features), tags, [features], labels)


def _from_table(path: Path, kind: str, labels: str, features: str | None) -> FeatureFile:
    import pandas as pd

    try:
        frame = pd.read_parquet(path) if kind in ("parquet", "pq") else \
            pd.read_csv(path, sep="\t" if kind == "tsv" else ",")
    except Exception as error:
        why = str(error).strip().splitlines()
        raise InputError(f"{path} cannot be read as {kind}: {why[0] if why else type(error).__name__}") from None
    frame.columns = [str(name) for name in frame.columns]
    names = list(frame.columns)
    if labels.endswith(".npy") and labels not in names:
        tags = _npy(Path(labels))
    elif labels in names:
        tags = frame[labels].to_numpy()
    else:
        raise nearest(f"column of {path}", labels, names)
    chosen = [name for name in names if name != labels] if features is None else _chosen(path, names, features)
    if not chosen:
        raise InputError(f"{path} has no column beside the labels; features need at least one")
    if len(chosen) == 1 and frame[chosen[0]].dtype == object and len(frame):
        first = frame[chosen[0]].iloc[0]
        if isinstance(first, list | tuple | np.ndarray):
            try:
                rows = np.stack([np.asarray(row, dtype=float) for row in frame[chosen[0]]])
            except (ValueError, TypeError):
                raise InputError(f"{path}: lists of column {chosen[0]!r} differ in length or hold no numbers") from None
            return FeatureFile(rows, tags, chosen, labels)
    words = [name for name in chosen if not (pd.api.types.is_numeric_dtype(frame[name]))]
    if words:
        raise InputError(
            f"{path}: column{'s' if len(words) > 1 else ''} {', '.join(words[:5])}{' ...' if len(words) > 5 else ''} "
            "do not hold numbers; choose the features with --features, e.g. a,b,c or 'z*'"
        )
    return FeatureFile(frame[chosen].to_numpy(dtype=float, na_value=np.nan), tags, chosen, labels)


def _chosen(path: Path, names: list[str], features: str) -> list[str]:
    found: list[str] = []
    for word in features.split(","):
        matches = [name for name in names if name == word] or fnmatch.filter(names, word)
        if not matches:
            raise nearest(f"column of {path}", word, names)
        found += [name for name in matches if name not in found]
    return found
