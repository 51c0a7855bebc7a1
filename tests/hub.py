"""A hub on this machine that holds repositories in memory and knows one key."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

KEY = "hf_key"


@dataclass
class Hub:
    """What the server holds.

    Attributes:
        address: Where it is.
        repos: Files of every repository, the newest last: ``repos[name][-1][file]``.
        private: Which of them are private.
    """

    address: str = ""
    repos: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if path[:2] == ["api", "models"]:
            repo, rest = "/".join(path[2:4]), path[4:]
            files = self._files(repo, rest[1] if len(rest) > 1 else "main")
            if files is not None and rest[:1] == ["tree"]:
                kind = {"type": "file", "oid": "0" * 40}
                self._answer(200, [{**kind, "path": n, "size": len(c)} for n, c in files.items()])
            elif files is not None:
                siblings = [{"rfilename": name} for name in files]
                self._answer(200, {"id": repo, "sha": "0" * 40, "siblings": siblings})
            return
        repo, revision, name = "/".join(path[:2]), path[3], "/".join(path[4:])
        files = self._files(repo, revision)
        if files is None:
            return
        if name not in files:
            self._answer(404, {}, {"X-Error-Code": "EntryNotFound"})
            return
        content = files[name]
        mark = hashlib.sha256(content).hexdigest()
        self._answer(200, content, {"ETag": f'"{mark}"', "X-Repo-Commit": mark[:40]})

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length")
        body = self.rfile.read(int(size)) if size else self._chunks()
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._answer(401, {"error": "Invalid username or password."})
            return
        path = urlsplit(self.path).path.strip("/").split("/")
        if path[1:] == ["validate-yaml"]:
            self._answer(200, {"errors": [], "warnings": []})
        elif path[1:] == ["repos", "create"]:
            asked = json.loads(body)
            repo = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            known = repo in self.hub.repos
            self.hub.repos.setdefault(repo, [{}])
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.private.setdefault(repo, bool(private))
            self._answer(409 if known else 200, {"url": f"{self.hub.address}/{repo}"})
        elif path[4] == "preupload":
            files = json.loads(body)["files"]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            self._answer(200, {"files": [{**mode, "path": one["path"]} for one in files]})
        else:
            repo = "/".join(path[2:4])
            new = dict(self.hub.repos[repo][-1])
            for line in body.splitlines():
                one = json.loads(line)
                if one["key"] == "file":
                    new[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            self.hub.repos[repo].append(new)
            told = {"commitUrl": f"{self.hub.address}/{repo}/commit/1", "commitOid": "1" * 40}
            self._answer(200, told)

    def _chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        """Returns the files of a repository; answers itself where there are none."""
        allowed = self.headers.get("Authorization") == f"Bearer {KEY}"
        if repo not in self.hub.repos or (self.hub.private.get(repo) and not allowed):
            self._answer(404, {}, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", "first") and len(revision) < 40:
            self._answer(404, {}, {"X-Error-Code": "RevisionNotFound"})
        else:
            return self.hub.repos[repo][1 if revision == "first" else -1]
        return None

    def _answer(self, status: int, said: object, headers: dict[str, str] | None = None) -> None:
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serves an empty hub until the end of the block."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub, "protocol_version": "HTTP/1.1"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
