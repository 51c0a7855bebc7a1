"""Puts a trained model into a repository of the Hugging Face hub, and gets it from there.

What lies on somebody's page is gone after a few years. A hub keeps every version of a model, beside
a page that says what it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpoint.errors import HeatpointError
from heatpoint.system.files import atomic_write
from heatpoint.system.outputs import check_outputs
from heatpoint.weights import checkpoint_path, read_header
from heatpoint.wording import amount

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILE, CARD = "model.safetensors", "README.md"
"""Names of the weights and of the page about them, in a repository."""

_TEXT = """\
# {title}

Finds {names}: a `{architecture}` for pictures of {height} x {width} pixels, trained with heatpoint.

```bash
pip install heatpoint
heatpoint pull {repo}
heatpoint predict {title}.safetensors photos/ --draw found/
```
{scores}"""


def push(checkpoint: str | Path, repo: str, *, licence: str = "", public: bool = False) -> str:
    """Uploads a checkpoint to a repository of the hub, which is made if there is none.

    The repository gets ``model.safetensors``; earlier versions stay in its history. It also gets a
    page about the model, ``README.md``, unless it has one: that may be somebody's own.

    Args:
        checkpoint: A trained model, or the name of fetched weights.
        repo: ``USER/NAME``.
        licence: The model's licence as the hub writes it, such as "apache-2.0"; "" leaves it
            unsaid.
        public: Whether everybody may see a repository that is made now.

    Returns:
        The address of the repository.

    Raises:
        HeatpointError: There is no such file, it is no checkpoint of ours, or the hub cannot be
            reached or refuses.
    """
    path = checkpoint_path(checkpoint)
    header = read_header(path)
    card = _card(header, repo, licence).encode()
    with _hub(repo) as api:
        from huggingface_hub import CommitOperationAdd

        made = api.create_repo(repo, private=not public, exist_ok=True)
        added = [CommitOperationAdd(FILE, str(path))]
        if not api.file_exists(repo, CARD):
            added.append(CommitOperationAdd(CARD, card))
        about = header["meta"].get("architecture", "a model")
        api.create_commit(repo, added, commit_message=f"Upload {about}")
    return str(made)


def pull(repo: str, out: str | Path | None = None, *, revision: str = "", file: str = "") -> Path:
    """Downloads a checkpoint from a repository of the hub, and makes sure that it is one.

    Args:
        repo: ``USER/NAME``.
        out: File to write, by default ``NAME.safetensors`` in the current folder.
        revision: Branch, tag or commit; the newest by default.
        file: Its name in the repository; ``model.safetensors``, or the only one, by default.

    Returns:
        ``out``.

    Raises:
        HeatpointError: The hub cannot be reached or refuses, the repository holds no such file or
            several, the file is no checkpoint of ours, or ``out`` may not be written.
    """
    out = Path(out or f"{repo.rpartition('/')[2]}.safetensors").expanduser()
    check_outputs({"checkpoints": [out]})
    with _hub(repo) as api:
        there = api.list_repo_files(repo, revision=revision or None)
        found = [name for name in there if name.endswith(".safetensors")]
        wanted = file or (FILE if FILE in found else found[0] if len(found) == 1 else "")
        if wanted not in there:
            raise HeatpointError(
                f"{repo} holds {'no ' + file if file else 'several' if found else 'no'} checkpoint"
                f"{'s' if not file and found else ''} ({', '.join(found) or 'no .safetensors'}); "
                "name one of them with --file, or another repository"
            )
        cached = api.hf_hub_download(repo, wanted, revision=revision or None)
    read_header(Path(cached))
    with atomic_write(out) as temporary:
        shutil.copyfile(cached, temporary)
    return out


@contextmanager
def _hub(repo: str) -> Iterator[HfApi]:
    """Yields what speaks with the hub, and says what fails in one sentence.

    ``HF_ENDPOINT`` and ``HF_TOKEN`` are the hub's own variables for another server and the key.
    """
    from huggingface_hub import HfApi, errors

    # That of the library which speaks HTTP, httpx or requests, depending on the hub's version.
    no_answer: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    try:
        endpoint, token = os.environ.get("HF_ENDPOINT"), os.environ.get("HF_TOKEN")
        yield HfApi(endpoint, token, library_name="heatpoint")
    except errors.HFValidationError as error:
        raise HeatpointError(f"{repo} is no name of a repository: USER/NAME ({error})") from None
    except errors.RepositoryNotFoundError:
        raise HeatpointError(
            f"the hub has no repository {repo}, or does not show it to you; check the name, and "
            "log in with `hf auth login` or HF_TOKEN if it is private"
        ) from None
    except errors.RevisionNotFoundError:
        raise HeatpointError(f"{repo} has no such revision; leave it out for the newest") from None
    except errors.LocalTokenNotFoundError:
        raise HeatpointError(
            f"the hub asks who you are; log in with `hf auth login` or HF_TOKEN for {repo}"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        login = "; log in with `hf auth login` or HF_TOKEN, as somebody who may write there"
        raise HeatpointError(
            f"the hub refuses {repo} (HTTP status {status}){login * (status in (401, 403))}"
        ) from None
    except (no_answer, errors.LocalEntryNotFoundError, OSError) as error:
        raise HeatpointError(
            f"the hub cannot be reached for {repo} ({str(error).splitlines()[0]:.200}); try again "
            "with a connection"
        ) from None


def _card(header: dict[str, Any], repo: str, licence: str) -> str:
    """Returns the page about a model: what the hub sorts by, and what a reader wants to know."""
    meta, names = header["meta"], header["names"]
    trained = meta.get("trained", {})
    scores = trained.get("score") or {}  # None where a signal stopped the run
    facts = ["---", "library_name: heatpoint", "pipeline_tag: object-detection"]
    facts += [f"license: {licence}"] * bool(licence) + ["tags:", "- heatmaps", "---", ""]
    told = ", ".join(f"{n} {value:.4f}" for n, value in scores.items() if value is not None)
    learnt = amount(trained.get("images", 0), "picture")
    height, width = meta.get("size", ("?", "?"))
    text = _TEXT.format(
        title=repo.rpartition("/")[2],
        names=", ".join(names),
        architecture=meta.get("architecture", "network of its own"),
        height=height,
        width=width,
        repo=repo,
        scores=f"\nTrained on {learnt}; its validation data: {told}.\n" * bool(told),
    )
    return "\n".join(facts) + "\n" + text
