"""Segments as code: what files say against what lives, as a plan, and the plan carried out.

A plan is made whole before anything is changed: what to create, what to change (and who would
enter and leave), what stays, and, when asked, what to retire because no file names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.definitions import read_definitions, read_lists, read_variants
from cli.output import number
from cli.problems import Problem
from cli.running import CALL_TIMEOUT_S

if TYPE_CHECKING:
    from muster.segments.v1 import facts_pb2 as segments
    from muster.segments.v1.lists_pb2 import DefineListRequest
    from muster.segments.v1.service_pb2 import DefineSegmentRequest, Segment
    from muster.segments.v1.variants_pb2 import DefineVariantsRequest

PAGE = 1_000
CREATE, CHANGE, DESCRIBE, KEEP, RETIRE = "create", "change", "describe", "unchanged", "retire"
SIGNS = {CREATE: "+", CHANGE: "~", DESCRIBE: "~", KEEP: "=", RETIRE: "-"}


@dataclass
class Files:
    """What files say: segments, lists and variant sets by id."""

    segments: dict[str, DefineSegmentRequest] = field(default_factory=dict)
    lists: dict[str, DefineListRequest] = field(default_factory=dict)
    variants: dict[str, DefineVariantsRequest] = field(default_factory=dict)


@dataclass
class Item:
    """One line of a plan. lines: what changes, in words."""

    what: str
    name: str
    kind: str = "segment"
    said: str = ""
    lines: list[str] = field(default_factory=list)
    wish: Any = None

    def __str__(self) -> str:
        kind = "" if self.kind == "segment" else f"{self.kind} "
        head = f"{SIGNS[self.what]} {kind}{self.name}: {self.what}{', ' * bool(self.said)}"
        return "\n".join([head + self.said, *(f"    {line}" for line in self.lines)])


def read_files(place: Path, tenant: str) -> Files:
    """Every segment, list and variant set of a file, or of the YAML files below a folder.

    Problem names the file and the fault, or the id that two documents define.
    """
    found = [place]
    if place.is_dir():
        found = sorted(p for end in ("*.yaml", "*.yml") for p in place.rglob(end))
        if not found:
            raise Problem(f"{place} holds no .yaml file")
    files, where = Files(), dict[tuple[str, str], Path]()
    for path in found:
        for kind, name, request in _documents(path, tenant):
            space = "variants" if kind == "variants" else "segments"
            if (space, name) in where:
                raise Problem(f"{path}: {name} is defined in {where[space, name]} already")
            where[space, name] = path
            getattr(files, kind)[name] = request
    return files


def _documents(path: Path, tenant: str) -> Iterator[tuple[str, str, Any]]:
    for request in read_definitions(path, tenant, needed=False):
        yield "segments", request.segment_id, request
    for listed in read_lists(path, tenant):
        yield "lists", listed.list_id, listed
    for variants in read_variants(path, tenant):
        yield "variants", variants.variant_set_id, variants


class Plan:
    """What is to be done, against a stack. calls: stubs of segments, of variants and of lists."""

    def __init__(self, files: Files, tenant: str, segments: Any, variants: Any, lists: Any) -> None:
        self.files, self.tenant = files, tenant
        self._segments, self._variants, self._lists = segments, variants, lists
        self._live = {one.definition.segment_id: one for one in self._listed()}
        self._sets = {one.variant_set_id: one for one in self._listed_variants()}

    def items(self, prune: bool) -> list[Item]:
        """The whole plan, in the order it is carried out. prune: retire what no file names."""
        planned = [self._item(kind, name) for kind, name in self._in_order()]
        return [*planned, *(self._gone() if prune else ())]

    def _item(self, kind: str, name: str) -> Item:
        if kind == "variants":
            return self._variant_set(self.files.variants[name])
        if name in self.files.lists:
            return self._list(self.files.lists[name])
        return self._segment(self.files.segments[name])

    # -- reading what lives ---------------------------------------------------------------------

    def _listed(self) -> Iterator[Segment]:
        from muster.segments.v1.service_pb2 import ListSegmentsRequest

        request = ListSegmentsRequest(tenant=self.tenant, page_size=PAGE)
        while True:
            answer = self._segments.ListSegments(request, timeout=CALL_TIMEOUT_S)
            yield from answer.segments
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    def _listed_variants(self) -> Iterator[segments.VariantsDefined]:
        from muster.segments.v1.variants_pb2 import ListVariantsRequest

        request = ListVariantsRequest(tenant=self.tenant, page_size=PAGE)
        while True:
            answer = self._variants.ListVariants(request, timeout=CALL_TIMEOUT_S)
            yield from answer.variants
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    # -- planning -------------------------------------------------------------------------------

    def _in_order(self) -> list[tuple[str, str]]:
        """(kind, id) of all that the files say, each after what it speaks of."""
        of: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for name, request in self.files.segments.items():
            of["segment", name] = _spoken_of(request)
        for name, listed in self.files.lists.items():
            of["segment", name] = _spoken_of(listed)
        for name, variants in self.files.variants.items():
            of["variants", name] = _spoken_of(variants)
        order: list[tuple[str, str]] = []
        left = sorted(of)
        while left:
            ready = [one for one in left if not any(used in left for used in of[one])]
            if not ready:
                named = ", ".join(name for _, name in left)
                raise Problem(f"{named} speak of each other in a circle; define them in two steps")
            order += ready
            left = [one for one in left if one not in ready]
        return order

    def _segment(self, request: DefineSegmentRequest) -> Item:
        standing = self._live.get(request.segment_id)
        name = request.segment_id
        if standing is None:
            said, lines = self._counted(request)
            return Item(CREATE, name, said=said, lines=lines, wish=request)
        definition = standing.definition
        request.expected_version = definition.version
        if _rule(request) == _rule(definition):
            if (request.name or name, list(request.tags)) == (
                definition.name, list(definition.tags)
            ):  # fmt: skip
                return Item(KEEP, name, said=f"v{definition.version}", wish=request)
            lines = [f"- {definition.name} {list(definition.tags) or ''}".rstrip()]
            lines.append(f"+ {request.name or name} {list(request.tags) or ''}".rstrip())
            return Item(DESCRIBE, name, said="name and tags only", lines=lines, wish=request)
        said, lines = self._changed(request, definition.version)
        return Item(CHANGE, name, said=said, lines=lines, wish=request)

    def _list(self, request: DefineListRequest) -> Item:
        standing, name = self._live.get(request.list_id), request.list_id
        follows = request.follows_segment_id
        if standing is None:
            said = f"follows {follows}" if follows else "kept by hand"
            return Item(CREATE, name, "list", said, wish=request)
        definition = standing.definition
        if not definition.HasField("list"):
            raise Problem(f"{name} is a segment with a rule; retire it first, or take another id")
        request.expected_version = definition.version
        version, lines = f"v{definition.version}", []
        for what, before, after in (
            ("follows", definition.list.follows_segment_id or "nothing", follows or "nothing"),
            ("triggers", str(definition.triggers).strip(), str(request.triggers).strip()),
        ):
            if before != after:
                lines += [f"- {what}: {before}", f"+ {what}: {after}"]
        if lines:
            said = f"{version} -> v{definition.version + 1}; who is in it stays in"
            return Item(CHANGE, name, "list", said, lines, request)
        tags = list(definition.tags)
        if (request.name or name, list(request.tags)) == (definition.name, tags):
            return Item(KEEP, name, "list", version, wish=request)
        lines = [f"- {definition.name} {tags or ''}".rstrip()]
        lines.append(f"+ {request.name or name} {list(request.tags) or ''}".rstrip())
        return Item(DESCRIBE, name, "list", "name and tags only", lines, request)

    def _counted(self, request: DefineSegmentRequest) -> tuple[str, list[str]]:
        from muster.segments.v1.service_pb2 import PreviewSegmentRequest

        if self._speaks_of_new(request):
            return "counted once what it speaks of is there", []
        wish = PreviewSegmentRequest(
            tenant=self.tenant, condition=request.condition, zone=request.zone
        )
        answer = self._segments.PreviewSegment(wish, timeout=CALL_TIMEOUT_S)
        said = f"{number(answer.members)} of {number(answer.profiles)} profiles"
        return said, [answer.sentence]

    def _changed(self, request: DefineSegmentRequest, version: int) -> tuple[str, list[str]]:
        from muster.segments.v1.service_pb2 import PreviewChangeRequest

        step = f"v{version} -> v{version + 1}"
        if self._speaks_of_new(request):
            return f"{step}; counted once what it speaks of is there", []
        wish = PreviewChangeRequest(
            tenant=self.tenant,
            segment_id=request.segment_id,
            condition=request.condition,
            zone=request.zone,
            triggers=request.triggers,
        )
        answer = self._segments.PreviewChange(wish, timeout=CALL_TIMEOUT_S)
        said = (
            f"{step}; {number(answer.enters)} enter, {number(answer.leaves)} leave, "
            f"{number(answer.stays)} stay"
        )
        return said, list(change_lines(answer))

    def _speaks_of_new(self, request: DefineSegmentRequest) -> bool:
        """Whether a rule rests on something this very plan creates."""
        return any(one not in self._live for one in _rule_references(request))

    def _variant_set(self, request: DefineVariantsRequest) -> Item:
        standing = self._sets.get(request.variant_set_id)
        lines = [f"{rule.segment_id} -> {rule.variant}" for rule in request.rules]
        lines.append(f"otherwise -> {request.default_variant or 'none'}")
        what, said = CREATE, ""
        if standing is not None:
            request.expected_version = standing.version
            same = (
                list(request.rules) == list(standing.rules)
                and request.default_variant == standing.default_variant
                and (request.name or request.variant_set_id) == standing.name
            )
            what = KEEP if same else CHANGE
            said = f"v{standing.version}" + ("" if same else f" -> v{standing.version + 1}")
            lines = [] if same else lines
        return Item(what, request.variant_set_id, "variants", said, lines, request)

    def _gone(self) -> Iterator[Item]:
        """What no file names, each before what it speaks of."""
        from muster.segments.v1.service_pb2 import SEGMENT_KIND_LIST

        left = {
            ("segment", name): _spoken_of(one.definition)
            for name, one in self._live.items()
            if name not in self.files.segments and one.kind != SEGMENT_KIND_LIST
        }
        for name, one in self._sets.items():
            if name not in self.files.variants:
                left["variants", name] = _spoken_of(one)
        while left:
            named = {used for uses in left.values() for used in uses}
            for kind, name in sorted(left.keys() - named):
                del left[kind, name]
                members = self._live[name].members if kind == "segment" else 0
                yield Item(RETIRE, name, kind, f"{number(members)} members leave" * bool(members))

    # -- carrying out ---------------------------------------------------------------------------

    def carry_out(self, item: Item, author: str, note: str, request_id: str) -> str:
        """Does one item; the line that says what came of it, empty when nothing had to be done."""
        if item.what == KEEP:
            return ""
        done = self._variants_done if item.kind == "variants" else self._segment_done
        return done(item, author, note, request_id)

    def _segment_done(self, item: Item, author: str, note: str, request_id: str) -> str:
        from muster.segments.v1 import service_pb2 as api

        if item.what == RETIRE:
            gone = api.RetireSegmentRequest(
                tenant=self.tenant, segment_id=item.name, author=author, note=note,
                request_id=request_id,
            )  # fmt: skip
            self._segments.RetireSegment(gone, timeout=CALL_TIMEOUT_S)
            return f"{item.name} is retired"
        wish = item.wish
        if item.what == DESCRIBE:
            described = api.DescribeSegmentRequest(
                tenant=self.tenant, segment_id=item.name, name=wish.name, tags=wish.tags,
                author=author, note=note, request_id=request_id,
                expected_version=wish.expected_version,
            )  # fmt: skip
            made = self._segments.DescribeSegment(described, timeout=CALL_TIMEOUT_S).segment
        elif item.kind == "list":
            wish.author, wish.request_id = author, request_id
            made = self._lists.DefineList(wish, timeout=CALL_TIMEOUT_S)
        else:
            wish.author, wish.note, wish.request_id = author, note, request_id
            made = self._segments.DefineSegment(wish, timeout=CALL_TIMEOUT_S).segment
        return f"{item.name} v{made.definition.version}: {number(made.members)} members"

    def _variants_done(self, item: Item, author: str, note: str, request_id: str) -> str:
        from muster.segments.v1 import variants_pb2 as api

        if item.what == RETIRE:
            gone = api.RetireVariantsRequest(
                tenant=self.tenant, variant_set_id=item.name, author=author, request_id=request_id
            )
            self._variants.RetireVariants(gone, timeout=CALL_TIMEOUT_S)
            return f"variants {item.name} are retired"
        item.wish.author, item.wish.note, item.wish.request_id = author, note, request_id
        made = self._variants.DefineVariants(item.wish, timeout=CALL_TIMEOUT_S).variants
        return f"variants {item.name} v{made.version}"


def summary(items: Sequence[Item]) -> str:
    """Such as: 2 to create, 1 to change, 3 unchanged."""
    counts = {what: sum(item.what == what for item in items) for what in SIGNS}
    counts[CHANGE] += counts.pop(DESCRIBE)
    said = [
        f"{count} {what}" if what == KEEP else f"{count} to {what}"
        for what, count in counts.items()
        if count
    ]
    return ", ".join(said) or "nothing to do"


def change_lines(answer: Any) -> Iterator[str]:
    """What a PreviewChangeResponse says beyond the figures."""
    yield from difference_lines(answer.differences)
    for one in answer.dependents:
        if one.enters or one.leaves:
            yield f"{one.segment_id}: {number(one.enters)} enter, {number(one.leaves)} leave"
    if answer.variant_set_ids:
        yield f"variant sets that name them: {', '.join(answer.variant_set_ids)}"
    if answer.triggers:
        yield f"up to {number(answer.triggers)} triggers"


def difference_lines(differences: Iterable[Any]) -> Iterator[str]:
    """Parts of a definition that differ: - before, + after."""
    for one in differences:
        place = one.path.removeprefix("condition").lstrip(".")
        where = f"{place}: " if place else ""
        if one.before:
            yield f"- {where}{one.before}"
        if one.after:
            yield f"+ {where}{one.after}"


def _rule(said: Any) -> tuple[bytes, str, bytes, str]:
    """What makes a version: rule, zone, triggers; of a wish or of a definition."""
    return (
        said.condition.SerializeToString(deterministic=True),
        said.zone,
        said.triggers.SerializeToString(deterministic=True),
        said.shadow_of,
    )


def _spoken_of(said: Any) -> list[tuple[str, str]]:
    """(kind, id) of what a wish, a definition or a variant set speaks of."""
    fields = said.DESCRIPTOR.fields_by_name
    if "rules" in fields:
        return [("segment", rule.segment_id) for rule in said.rules]
    named = said.triggers.variant_set
    if "follows_segment_id" in fields:
        beside = [said.follows_segment_id, said.triggers.migrates_from]
        found = [("segment", one) for one in dict.fromkeys(beside) if one]
    else:
        found = [("segment", one) for one in _references(said)]
    return [*found, ("variants", named)] if named else found


def _references(said: Any) -> list[str]:
    """Segments that a wish or a definition speaks of."""
    beside = [one for one in (said.shadow_of, said.triggers.migrates_from) if one]
    return list(dict.fromkeys([*beside, *_rule_references(said)]))


def _rule_references(said: Any) -> list[str]:
    """Segments and lists that its rule speaks of; what follows a segment has none."""
    if "list" in said.DESCRIPTOR.fields_by_name and said.HasField("list"):
        return [said.list.follows_segment_id] if said.list.follows_segment_id else []
    found: list[str] = []
    open_messages = [said.condition]
    while open_messages:
        message = open_messages.pop()
        if message.DESCRIPTOR.name == "SegmentLeaf":
            found.append(message.segment_id)
        if message.DESCRIPTOR.name == "ListLeaf":
            found.append(message.list_id)
        for part, value in message.ListFields():
            if part.message_type is not None:
                open_messages += value if part.is_repeated else [value]
    return list(dict.fromkeys(found))
