"""A preprocessor of mdBook: replaces links to files outside of the book by their text, or by links to the repository.

mdBook makes index.html of README.md, and leaves links to it as they are.
"""

import json
import posixpath
import re
import sys

LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
OUTSIDE = "../"
README, INDEX = re.compile(r"(^|/)README\.md"), r"\1index.md"


def outside(chapter, target):
    """Returns the path in the repository of a link that leaves the folder of the book, or None."""
    file = target.split("#")[0]
    if "://" in target or not file:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(chapter), file))
    return target.replace(file, path.removeprefix(OUTSIDE), 1) if path.startswith(OUTSIDE) else None


def rewrite(item, url):
    chapter = item.get("Chapter") if isinstance(item, dict) else None
    if chapter is None:
        return

    def replace(match):
        path = outside(chapter["path"] or "", match[2])
        if path is None:
            return match[0] if "://" in match[2] else f"[{match[1]}]({README.sub(INDEX, match[2])})"
        return f"[{match[1]}]({url}{path})" if url else match[1]

    chapter["content"] = LINK.sub(replace, chapter["content"])
    for inner in chapter["sub_items"]:
        rewrite(inner, url)


if len(sys.argv) > 1:  # `supports RENDERER`
    sys.exit(0)
context, book = json.load(sys.stdin)
settings = context["config"]["preprocessor"]["outside-links"]
for item in book.get("items") or book["sections"]:
    rewrite(item, settings.get("url"))
json.dump(book, sys.stdout)
