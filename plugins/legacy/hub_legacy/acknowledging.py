"""Tell the system that fills the folder which files were read to their end: one small file for each."""

import msgspec

from hub_legacy.marks import Mark
from hub_legacy.places import Place


class Acknowledgements:
    """The acknowledgements of one pull. `known` are the marks it began with: those files were acknowledged before."""

    def __init__(self, place: Place, folder: str, known: dict[str, Mark]) -> None:
        self.place, self.folder = place, folder
        self._known = dict(known)
        self._written: dict[str, Mark] = {}
        self._stamps: dict[str, int] | None = None

    def write(self, marks: dict[str, Mark]) -> None:
        """Write those that are due: of files read just now, and of earlier ones that are missing or out of date."""
        if self._stamps is None:
            self._stamps = self.place.stamps(self.folder)
        for name, mark in marks.items():
            if not mark.whole or self._written.get(name) is mark:
                continue
            self._written[name] = mark
            own = f"{name.replace('/', '__')}.ack.json"
            if self._known.get(name) == mark and self._stamps.get(own, 0) > mark.mtime:
                continue
            target, content = f"{self.folder}/{own}", _told(name, mark)
            if self.place.content(target) != content:
                self.place.write(target, content)


def _told(name: str, mark: Mark) -> bytes:
    told = {"file": name, "size": mark.size, "read": mark.read, "rejected": mark.bad, "digest": mark.print}
    return msgspec.json.encode(told) + b"\n"
