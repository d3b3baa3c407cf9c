"""The data and their copies: sent to a remote, fetched from it and compared, each file by its hash and its name.

DVC's own push and pull trust what they remember of a remote and what the time of a file says. Here a remote is asked,
and bytes count only once they have been hashed. What is not what it should be is never left where it could be used: it
is set aside under `.mmcore/damaged/`, and replaced by an intact copy if there is one.
"""

import io
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mmcore.data import store
from mmcore.ledger import Ledger
from mmcore.objects import LIST, Cache, Content, Reader, Remote, Version, fault, in_parallel, set_aside
from mmcore.workspace import Workspace

ROUNDS = 3
NAMED = 20
FEW = 5
SEND_AGAIN = "send it again from a checkout that has it: mmcore data push --verify"

Found = dict[str, Content | None]


@dataclass(frozen=True)
class Copies:
    """What lies in this checkout: data/, the cache, and the folder for what was found damaged."""

    ledger: Ledger
    cache: Cache
    data: Path
    damaged: Path
    reader: Reader

    @classmethod
    def of(cls, workspace: Workspace) -> "Copies":
        ledger = Ledger(workspace.root)
        if not (workspace.root / "data.dvc").is_file():
            raise FileNotFoundError(
                "no data are recorded here (no data.dvc); import some: mmcore data import SOURCE --format imagefolder"
            )
        return cls(ledger, ledger.cache(), workspace.data, workspace.state / "damaged", Reader())

    def remote(self, name: str | None) -> Remote:
        """The remote `name` or the default one; LookupError if there is none."""
        remote = self.ledger.remote(name)
        if remote is None:
            raise LookupError("no remote is set up; add one: dvc remote add -d NAME URL (docs/remotes.md)")
        return remote

    def read_data(self) -> Found:
        """What every file below data/ holds, by its relative path."""
        files = {
            file.relative_to(self.data).as_posix(): file for file in sorted(self.data.rglob("*")) if file.is_file()
        }
        return self.reader.read_all("hashing data/", files)

    def manifest(self) -> bytes:
        """The bytes of data/manifest.json."""
        return (self.data / store.MANIFEST).read_bytes()

    def read_cache(self, names: Iterable[str]) -> Found:
        """What the cache holds under each of these names."""
        return self.reader.read_all("hashing the cache", {name: self.cache.path(name) for name in names})

    def set_aside(self, file: Path, content: Content, place: str) -> str:
        """Move a damaged file away; returns where it lies now, in words."""
        folder = self.damaged / place
        set_aside(file, folder, content)
        return f"set aside in {folder}"


# Pull -------------------------------------------------------------------------------------------------------------


def pull(workspace: Workspace, remote_name: str | None = None) -> list[str]:
    """Make data/ what data.dvc names, from the cache and a remote, every byte hashed; returns what was done, in lines.

    A wrong file in data/ or the cache is set aside and replaced. ValueError names every file that no place has intact,
    LookupError says that there is no place to ask; data/ holds no wrong byte then, either.
    """
    copies = Copies.of(workspace)
    remote = copies.remote(remote_name) if remote_name else copies.ledger.remote()
    here = copies.read_data()
    version, done = required(copies, remote)
    lacking, repaired = mend(copies, version, here)
    done += repaired + clear(copies, version, here)
    try:
        done += fetch(copies, version, remote, lacking)
    except (ValueError, LookupError, ConnectionError) as error:
        raise type(error)("\n".join([str(error), *done])) from error
    copies.ledger.checkout_data()
    there = copies.read_data()
    wrong = compare(version, there) or against_manifest(version, there, copies.manifest)
    if wrong:
        raise ValueError(f"data/ is not what data.dvc names, although the cache is: {_listed(wrong)}")
    placed = [name for path, name in version.files.items() if (before := here.get(path)) is None or before.md5 != name]
    if placed:
        done.append(f"data/ took {_objects(version, placed)} from the cache")
    return [*done, f"data/ holds all {len(version.files)} files of data.dvc, hashed ({_megabytes(there.values())})"]


def check_manifest(workspace: Workspace) -> None:
    """Hash data/manifest.json, by which every shard is checked when it is read; ValueError if it is not data.dvc's."""
    copies = Copies.of(workspace)
    version = recorded(copies)
    trouble = store.MANIFEST in version.files and fault(
        version.files[store.MANIFEST], copies.reader.read(copies.data / store.MANIFEST), version
    )
    if trouble:
        raise ValueError(f"data/{store.MANIFEST} {trouble}; mend it: mmcore data pull")


def recorded(copies: Copies, remote: Remote | None = None) -> Version:
    """The files that data.dvc names; nothing is changed.

    Their list comes from the cache, from data/ itself if that is what data.dvc names, or from the remote (null: the
    default one). ValueError or LookupError with the fix if no place has it intact.
    """
    name = copies.ledger.data_hash()
    return Version.read(name, _list(copies, name, remote))


def required(copies: Copies, remote: Remote | None) -> tuple[Version, list[str]]:
    """`recorded`, and then the cache holds the list; what had to be repaired for that, in lines."""
    name = copies.ledger.data_hash()
    content = _list(copies, name, remote)
    path = copies.cache.path(name)
    held = copies.reader.read(path)
    trouble = fault(name, held)
    done = []
    if trouble and held is not None:
        done.append(f"the list of the files {trouble} in the cache; {copies.set_aside(path, held, 'cache')}")
    if trouble:
        copies.cache.put(name, io.BytesIO(content))
    return Version.read(name, content), done


def _list(copies: Copies, name: str, remote: Remote | None) -> bytes:
    path = copies.cache.path(name)
    if not fault(name, copies.reader.read(path)):
        return path.read_bytes()
    lying = Version.of({path: read.md5 for path, read in copies.read_data().items() if read})
    if lying.name == name:
        return lying.content
    remote = remote or copies.ledger.remote()
    if remote is None:
        raise LookupError(
            "the data that data.dvc names are neither in data/ nor in the cache, and no remote is set up; add the one "
            "they were pushed to: dvc remote add -d NAME URL"
        )
    content = io.BytesIO()
    trouble = fault(name, remote.read(name, copy=content))
    if trouble:
        raise ValueError(
            f"the list of the files of data/ {trouble} on {remote} (object {_object(name)}), and is not here either; "
            + SEND_AGAIN
        )
    return content.getvalue()


def mend(copies: Copies, version: Version, here: Found) -> tuple[dict[str, str], list[str]]:
    """Set aside what is wrong in the cache and replace it, and what is missing there, by what data/ holds (`here`).

    Returns the objects that the cache lacks all the same, with what is wrong, and what was done, in lines.
    """
    by_hash = {read.md5: path for path, read in here.items() if read}
    lacking: dict[str, str] = {}
    replaced: list[str] = []
    done = []
    for name, held in copies.read_cache(version.objects).items():
        trouble = fault(name, held, version)
        if not trouble:
            continue
        if held is not None:
            place = copies.set_aside(copies.cache.path(name), held, "cache")
            done.append(f"{_named(version, name)} {trouble} in the cache; {place}")
        path = by_hash.get(name)
        if path is None:
            lacking[name] = f"{trouble} in the cache"
            continue
        with open(copies.data / path, "rb") as file:
            copies.cache.put(name, file)
        replaced.append(name)
    if replaced:
        done.append(f"the cache took {_objects(version, replaced)} from data/")
    return lacking, done


def clear(copies: Copies, version: Version, here: Found) -> list[str]:
    """Move away what data/ holds (`here`) and `version` does not say; returns a line for each file set aside.

    What the cache holds under its own name (another version of the data) is dropped, all else is set aside.
    """
    done = []
    for path, trouble in compare(version, here).items():
        read = here.get(path)
        if read is None:
            continue
        if not fault(read.md5, copies.reader.read(copies.cache.path(read.md5))):
            (copies.data / path).unlink()
        else:
            place = copies.set_aside(copies.data / path, read, f"data/{Path(path).parent.as_posix()}")
            done.append(f"data/{path} {trouble}; {place}")
    return done


def fetch(copies: Copies, version: Version, remote: Remote | None, lacking: dict[str, str]) -> list[str]:
    """Bring the objects that are `lacking` into the cache; ValueError names every one that cannot be had intact."""
    if not lacking:
        return []
    if remote is None:
        wrong = _listed(_by_path(version, lacking))
        raise LookupError(f"not here, and no remote is set up: {wrong}add one: dvc remote add -d NAME URL")
    total = sum(remote.sizes(list(lacking)).values())
    fetched = in_parallel("fetching", total, lacking, lambda name, count: remote.fetch(name, copies.cache, count))
    refused = _faults(version, fetched)
    if refused:
        where = {name: f"{trouble} (object {_object(name)})" for name, trouble in refused.items()}
        raise ValueError(f"refused from {remote}: {_listed(_by_path(version, where))}{SEND_AGAIN}")
    return [f"fetched {_objects(version, fetched)}, {_megabytes(fetched.values())}, from {remote}"]


# Push -------------------------------------------------------------------------------------------------------------


def push(workspace: Workspace, remote_name: str | None = None, *, read_back: bool = False) -> list[str]:
    """Make a remote hold every object of the data that data.dvc names; returns what was done, in lines.

    What an earlier, interrupted push left undone is completed: the remote is asked for the size of each object, what
    is missing or of another size is sent, and it is asked again. `read_back` hashes each object there, too, and
    replaces those that are not what their name says. ValueError names what is not intact in this checkout,
    ConnectionError what the remote still does not hold.
    """
    copies = Copies.of(workspace)
    remote = copies.remote(remote_name)
    here = copies.read_data()
    version, done = required(copies, remote)
    lacking, repaired = mend(copies, version, here)
    if lacking:
        damaged = _listed(_by_path(version, lacking))
        raise ValueError("\n".join([f"not intact here: {damaged}get it first: mmcore data pull", *done, *repaired]))
    sizes = {name: copies.cache.path(name).stat().st_size for name in version.objects}
    done += repaired
    sent: set[str] = set()
    for attempt in range(ROUNDS + 1):
        wrong = _not_there(remote, version, sizes, read_back)
        if not wrong or attempt == ROUNDS:
            break
        done += [
            f"{_named(version, name)} {trouble} on {remote}; replaced" for name, trouble in wrong.items() if trouble
        ]
        _send(copies, remote, {name: sizes[name] for name in wrong})
        sent |= wrong.keys()
    if wrong:
        raise ConnectionError(
            f"{remote} does not hold what was sent to it {ROUNDS} times: {_listed(_by_path(version, wrong))}"
        )
    how = "read back and hashed" if read_back else "compared by name and size"
    done.append(f"sent {_objects(version, sent)} to {remote}" if sent else "there was nothing to send")
    total = f"{sum(sizes.values()) / 1e6:.1f} MB"
    return [*done, f"{remote} holds all {len(sizes)} objects of data.dvc ({total}), {how}"]


def _not_there(remote: Remote, version: Version, sizes: dict[str, int], read_back: bool) -> dict[str, str]:
    """The objects that the remote does not hold as it should, each with what is wrong; empty where it is missing."""
    there = remote.sizes(list(sizes))
    wrong = {
        name: f"had {there[name]} bytes instead of {size}" if name in there else ""
        for name, size in sizes.items()
        if there.get(name) != size
    }
    if read_back:
        wrong |= _faults(version, read_remote(remote, [name for name in sizes if name not in wrong]))
    return wrong


def _send(copies: Copies, remote: Remote, sizes: dict[str, int]) -> None:
    files = [name for name in sizes if not name.endswith(LIST)]
    in_parallel("sending", sum(sizes.values()), files, lambda name, count: remote.send(name, copies.cache, count))
    # The list goes last: for DVC its presence means that everything in it is there.
    for name in sizes.keys() - set(files):
        remote.send(name, copies.cache)


# Comparing --------------------------------------------------------------------------------------------------------


def verify(workspace: Workspace) -> list[str]:
    """Hash data/ and the cache; returns a line, ValueError names every file that is wrong.

    The MD5 of each file is compared with the list that data.dvc names, the SHA-256 of each shard with the manifest.
    What is not in the cache at all is no fault. Nothing is mended.
    """
    copies = Copies.of(workspace)
    here = copies.read_data()
    version = recorded(copies)
    held: Found = {name: read for name, read in copies.read_cache(version.objects).items() if read}
    wrong = {f"data/{path}": trouble for path, trouble in compare(version, here).items()}
    cached = _by_path(version, _faults(version, held))
    wrong |= {f"{path} in the cache": trouble for path, trouble in cached.items()}
    if not wrong:
        wrong = {f"data/{path}": trouble for path, trouble in against_manifest(version, here, copies.manifest).items()}
    if wrong:
        raise ValueError(f"what lies here is not what data.dvc names: {_listed(wrong)}mend it: mmcore data pull")
    return [f"data/ holds all {len(version.files)} files of data.dvc, read and hashed ({_megabytes(here.values())})"]


def verify_remote(workspace: Workspace, remote_name: str | None = None) -> list[str]:
    """Hash every object of data.dvc on a remote and keep none; returns a line, ValueError names what is wrong.

    The MD5 is compared with the object's name, the SHA-256 of each shard with the manifest.
    """
    copies = Copies.of(workspace)
    remote = copies.remote(remote_name)
    version = recorded(copies, remote)
    found = read_remote(remote, version.objects)
    wrong = _by_path(version, _faults(version, found))
    if not wrong:
        files = {path: found[name] for path, name in version.files.items()}
        wrong = against_manifest(version, files, lambda: _bytes(remote, version.files[store.MANIFEST]))
    if wrong:
        raise ValueError(
            f"{remote} does not hold what data.dvc names: {_listed(wrong)}send them again from a checkout that has "
            f"them: mmcore data push --verify --remote {remote.name}"
        )
    return [f"{remote} holds all {len(found)} objects of data.dvc, read and hashed ({_megabytes(found.values())})"]


def compare(version: Version, found: Found) -> dict[str, str]:
    """What is wrong with files that were read: each path that is missing, extra or not what `version` says."""
    wrong = {path: fault(name, found.get(path), version) for path, name in version.files.items()}
    wrong |= dict.fromkeys(found.keys() - version.files.keys(), "is not part of the data")
    return {path: trouble for path, trouble in sorted(wrong.items()) if trouble}


def against_manifest(version: Version, found: Found, manifest: Callable[[], bytes]) -> dict[str, str]:
    """What is wrong with the shards that were read by the SHA-256 in their manifest; nothing where there is none."""
    if store.MANIFEST not in version.files:
        return {}
    shards = store.manifest_of(json.loads(manifest()), store.MANIFEST).shards
    return {
        shard.path: f"is not what {store.MANIFEST} says (its SHA-256 differs)"
        for shard in shards
        if (read := found.get(shard.path)) is None or read.sha256 != shard.sha256
    }


def read_remote(remote: Remote, names: Iterable[str]) -> Found:
    """What the remote holds under each of these names, streamed and hashed."""
    listed = list(names)
    return in_parallel("hashing the remote", sum(remote.sizes(listed).values()), listed, remote.read)


# Words ------------------------------------------------------------------------------------------------------------


def _faults(version: Version, found: Found) -> dict[str, str]:
    return {name: trouble for name, read in found.items() if (trouble := fault(name, read, version))}


def _bytes(remote: Remote, name: str) -> bytes:
    content = io.BytesIO()
    remote.read(name, copy=content)
    return content.getvalue()


def _named(version: Version, name: str) -> str:
    return "the list of the files" if name.endswith(LIST) else f"data/{version.objects[name]}"


def _by_path(version: Version, wrong: dict[str, str]) -> dict[str, str]:
    return {_named(version, name): trouble for name, trouble in wrong.items()}


def _objects(version: Version, names: Collection[str]) -> str:
    """How many objects, and which if they are few."""
    few = f" ({', '.join(_named(version, name) for name in names)})" if len(names) <= FEW else ""
    return f"{len(names)} object{'s' * (len(names) != 1)}{few}"


def _object(name: str) -> str:
    return f"{name[:2]}/{name[2:]}"


def _listed(wrong: dict[str, str]) -> str:
    """Each name with what is wrong, on lines of their own."""
    lines = [f"{name} {trouble}".rstrip() for name, trouble in wrong.items()]
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return "\n  " + "\n  ".join([*lines[:NAMED], *more]) + "\n"


def _megabytes(read: Iterable[Content | None]) -> str:
    return f"{sum(one.size for one in read if one) / 1e6:.1f} MB"
