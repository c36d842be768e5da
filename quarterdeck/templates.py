"""Visualization templates through a session: those that come with Quarterdeck, one's own, and public ones (V3)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from quarterdeck.errors import Invalid, NotFound, Refused
from quarterdeck.query import close_match
from quarterdeck.session import Session

if TYPE_CHECKING:
    from quarterdeck.report import Template

__all__ = ["StoredTemplate", "Templates"]

_LIST = sa.text(
    "select creator, name, title, kinds, is_public as public, created, updated from qd.template order by name, creator"
)
_ONE = sa.text("select document::text from qd.template where name = :name and creator = :creator")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTemplate:
    """A template as a list shows it. `builtin`: it comes with Quarterdeck, and has neither creator nor times.

    `kinds`: the kinds of jobs that it fits; none means any.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    creator: str = ""
    public: bool = True
    builtin: bool = False
    created: dt.datetime | None = None
    updated: dt.datetime | None = None


class Templates(Session):
    """The part of the client that keeps templates. Names are one's own; others' public ones are CREATOR.NAME, too."""

    def templates(self) -> list[StoredTemplate]:
        """All that you may use: the built-in ones, then stored ones by name."""
        from quarterdeck.report import builtins

        with self._reading() as connection:
            rows = connection.execute(_LIST).mappings().all()
        own = [
            StoredTemplate(
                **{
                    **row,
                    "kinds": tuple(row["kinds"]),
                    "created": row["created"].astimezone(dt.UTC),
                    "updated": row["updated"].astimezone(dt.UTC),
                }
            )
            for row in rows
        ]
        given = [
            StoredTemplate(name=one.name, title=one.title, kinds=tuple(one.kinds), builtin=True)
            for one in builtins().values()
        ]
        return given + own

    def template(self, name: str) -> Template:
        """A built-in template of that name, else your own, else the one of CREATOR.NAME, else the only public one.

        Raises:
            NotFound: there is none that you may see, or several people have a public one of that name.
            Invalid: its document can't be used by this version.
        """
        from quarterdeck.report import builtins, load

        if name in builtins():
            return builtins()[name]
        found = self._found(name)
        with self._reading() as connection:
            text = connection.execute(_ONE, {"name": found.name, "creator": found.creator}).scalar_one_or_none()
        if text is None:
            raise NotFound(f"template '{name}' was deleted meanwhile", field="template")
        try:
            return load(text)
        except Invalid as error:
            raise Invalid(f"template '{name}' of {found.creator} can't be used: {error}", field="template") from None

    def save_template(self, document: Template | Mapping[str, Any] | str, public: bool = False) -> Template:
        """Store a template under its name, in the place of your own one of that name if there is one.

        Raises:
            Invalid: the document can't be used, or its name is that of a built-in one.
            Conflict: you have as many templates as may be (1,000).
        """
        from quarterdeck.report import builtins, dump, load, parse

        template = load(document) if isinstance(document, str) else parse(document)
        if template.name in builtins():
            raise Invalid(f"'{template.name}' is the name of a template that comes with Quarterdeck: choose another")
        with self._writing() as connection:
            connection.execute(
                sa.text("select qd.save_template(:name, cast(:document as jsonb), :public)"),
                {"name": template.name, "document": dump(template), "public": public},
            )
        return template

    def delete_template(self, name: str, creator: str | None = None) -> None:
        """Delete a template of your own, or as an admin anyone's (by its creator, or as CREATOR.NAME).

        Raises:
            NotFound: there is none of that name that you may see.
            Refused: it is another person's, or comes with Quarterdeck.
        """
        from quarterdeck.report import builtins

        if creator is None and name in builtins():
            raise Refused(f"template '{name}' comes with Quarterdeck and can't be deleted")
        if creator is None and "." in name:
            creator, _, name = name.rpartition(".")
        if "\0" in name or "\0" in (creator or ""):
            raise NotFound("there is no template of a name with a NUL character", field="template")
        with self._writing() as connection:
            connection.execute(
                sa.text("select qd.delete_template(:name, :creator)"), {"name": name, "creator": creator}
            )

    def _found(self, name: str) -> StoredTemplate:
        stored = [one for one in self.templates() if not one.builtin]
        own = [one for one in stored if one.creator == self.me.login and one.name == name]
        full = [one for one in stored if f"{one.creator}.{one.name}" == name]
        public = [one for one in stored if one.public and one.name == name]
        found = own or full or public
        if not found:
            known = {one.name for one in self.templates()} | {f"{one.creator}.{one.name}" for one in stored}
            raise NotFound(f"there is no template '{name:.80}'{close_match(name, known)}", field="template")
        if len(found) > 1:
            owners = ", ".join(f"{one.creator}.{name}" for one in found)
            raise NotFound(f"several people have a public template '{name}': name one of {owners}", field="template")
        return found[0]
