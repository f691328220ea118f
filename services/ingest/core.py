"""Decides which events count: validated, each once, as columns, in the order of INTAKE.

The pure core behind `services.chassis.worker`: the same messages in the same cuts give the same
bytes, live, replayed or in `muster test`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from muster.types.v1.event_pb2 import Event, EventBatch, Identifier
from services.chassis import subjects
from services.chassis.core import Buffers, Facts, Message, Own, Source
from services.chassis.identifiers import Normaliser
from services.chassis.prints import print_key
from services.ingest.adapters import rows as at_
from services.ingest.adapters import seen
from services.ingest.adapters.answers import Account, parked_bodies, receipt_bodies
from services.ingest.adapters.checks import DERIVED, HISTORY, PUNCTUAL, Checked, Checker, Envelope
from services.ingest.adapters.decoder import KernelDecoder, NotOnTheWire
from services.ingest.adapters.event_columns import ColumnWriter
from services.ingest.adapters.intake import Opened, open_batch
from services.ingest.adapters.order_book import OrderBook, Told, steps_of
from services.ingest.adapters.order_tables import is_ours
from services.ingest.adapters.reference import UpbDecoder
from services.ingest.adapters.registry_wire import change_of, changes_of, state_of
from services.ingest.adapters.rows import Decoder, Rows
from services.ingest.adapters.schema_checks import Numbered, check_schemas, types_of
from services.ingest.domain.faults import Fault
from services.ingest.domain.registry import DERIVED_TYPE, Registry, evolve
from services.ingest.settings import IngestSettings

EVENTS, RECEIPTS, PARKED = range(3)
"""Places of the own subjects."""
_REGISTRY = "registry"
"""Name of the registry's buffer in a snapshot."""
_NOBODY = Identifier(kind="user_id", value="nobody")


class IngestCore:
    """The events of one tenant. Attributes as `services.chassis.core.Core` says."""

    name = "ingest"
    version = 4

    def __init__(self, settings: IngestSettings, decoder: Decoder | None = None) -> None:
        tenant = settings.tenant
        self.sources: tuple[Source, ...] = (
            Source(subjects.INTAKE, (subjects.intake_of(tenant),), fenced=False),
            Source(
                subjects.CONTROL, (subjects.control(tenant, "registry"),), fenced=False, told=False
            ),
        )
        self.own: tuple[Own, ...] = (
            Own(subjects.EVENTS, subjects.events(tenant)),
            Own(subjects.RECEIPTS, subjects.receipts(tenant)),
            Own(subjects.PARKED, subjects.parked(tenant, self.name)),
        )
        key = print_key(settings.print_key)
        self.accepted = 0
        self.duplicates = 0
        self.refused = 0
        self.disagreements = 0
        """Steps in which the fast decoder refused what upb accepts: a defect, without loss."""
        self.registry = Registry()
        """Publishers and schemas, as CONTROL says."""
        self._decoder = decoder or KernelDecoder()
        self._reference = UpbDecoder()
        self._checker = Checker(normaliser_of(settings), key)
        self._writer = ColumnWriter(key.low)
        self._orders = OrderBook(settings.orders_max, key)
        self._seen = seen.Seen(settings.dedupe_prints_max, settings.import_prints_max)

    @property
    def prints(self) -> int:
        """Event ids remembered, those of imports included."""
        return self._seen.count + self._seen.import_count

    @property
    def orders(self) -> int:
        """Orders remembered."""
        return self._orders.count

    def step(self, batch: Sequence[Message], time_us: int) -> Facts:
        """Takes a cut of INTAKE and of the registry. A tick (an empty body) only moves time."""
        facts = Facts()
        for message in batch:
            if message.source and (change := change_of(message.body)) is not None:
                evolve(self.registry, change)
        accounts = [
            opened_account(message, self.registry)
            for message in batch
            if message.body and not message.source
        ]
        if accounts:
            self._take(accounts, facts)
            accounts = [account for account in accounts if not account.is_plain]
        if accounts:
            facts.bodies[RECEIPTS] = receipt_bodies(accounts)
            if parked := parked_bodies(accounts, time_us):
                facts.bodies[PARKED] = parked
        self._seen.advance(time_us)
        return facts

    def dump(self) -> Buffers:
        """The memory of event ids, the orders, and the registry."""
        registry = {_REGISTRY: state_of(self.registry)}
        return {**self._seen.dump(), **self._orders.dump(), **registry}

    def load(self, state: Mapping[str, memoryview]) -> None:
        beside = {name for name in state if name == _REGISTRY or is_ours(name)}
        self._seen.load({name: state[name] for name in state if name not in beside})
        self._orders.load(state)
        self.registry = Registry()
        for change in changes_of(bytes(state[_REGISTRY])):
            evolve(self.registry, change)

    def _take(self, accounts: list[Account], facts: Facts) -> None:
        """Decodes, checks, deduplicates and writes the events of a step."""
        holding = [account for account in accounts if account.opened.body]
        rows = self._decoded(holding)
        checked = self._checker.check(rows, [self._envelope(account) for account in holding])
        check_schemas(checked, self.registry)
        types = types_of(rows)
        steps = steps_of(types)
        self._refuse_types(checked, types, steps)
        chosen = np.flatnonzero(checked.faults == 0) if checked.faulty else np.arange(len(rows))
        imported = (checked.flags & HISTORY)[rows.events[:, at_.MESSAGE]].astype(np.bool_)
        verdicts = self._seen.admit(checked.prints, rows.events[:, at_.SEND_US], imported, chosen)
        new = chosen[verdicts == seen.NEW]
        if len(new) < len(chosen):
            checked.faults[chosen[verdicts == seen.FULL]] = Fault.DEDUPLICATION_FULL
        told: list[Told] = []
        if len(new):
            about = new[steps[new] >= 0]
            if len(about):
                told = self._orders.take(checked, about, steps[about])
            facts.bodies[EVENTS] = self._writer.bodies(checked, new)
        if len(new) < len(rows) or checked.left_out:
            known = chosen[verdicts == seen.KNOWN]
            _note_exceptions(holding, checked, known)
        if told:
            # Last: decoding them reuses the rows.
            facts.bodies[EVENTS] += self._derived(told, checked)
        self._count(accounts)

    def _refuse_types(self, checked: Checked, types: Numbered, steps: np.ndarray) -> None:
        """Types that only ingest itself may use, and orders beyond those it can remember."""
        if DERIVED_TYPE in types.texts:
            ours = types.number == types.texts.index(DERIVED_TYPE)
            checked.faults[ours & (checked.faults == 0)] = Fault.RESERVED_TYPE
            checked.faulty = int(np.count_nonzero(checked.faults))
        if self._orders.is_full:
            about = np.flatnonzero((steps >= 0) & (checked.faults == 0))
            if len(about):
                checked.faults[self._orders.without_room(checked.rows, about)] = Fault.ORDERS_FULL
                checked.faulty = int(np.count_nonzero(checked.faults))

    def _derived(self, told: list[Told], cause: Checked) -> list[bytes]:
        """Columns of what orders changed; each row has the time and the flags of its cause."""
        envelopes = [Envelope(int(cause.time_us[one.message])) for one in told]
        checked = self._checker.check(self._decoder.decode([one.body for one in told]), envelopes)
        if checked.faulty:
            raise ValueError(f"a derived event is not one: {checked.faults.tolist()}")
        flags = [
            int(cause.flags[one.message]) | DERIVED | (0 if one.late else PUNCTUAL) for one in told
        ]
        checked.flags = np.array(flags, np.uint8)
        return self._writer.bodies(checked, np.arange(len(checked.rows)))

    def _envelope(self, account: Account) -> Envelope:
        message = account.message
        source = subjects.publisher_of(message.subject)
        untrusted = self.registry.is_untrusted(source)
        return Envelope(message.time_us, account.opened.import_id, untrusted, source)

    def _decoded(self, holding: list[Account]) -> Rows:
        bodies = [account.opened.body for account in holding]
        expected = sum(account.opened.taken for account in holding)
        try:
            rows = self._decoder.decode(bodies)
            if len(rows) == expected:
                return rows
        except NotOnTheWire:
            pass
        self.disagreements += 1
        return self._reference.decode(bodies)

    def _count(self, accounts: list[Account]) -> None:
        for account in accounts:
            self.accepted += account.accepted
            self.duplicates += len(account.duplicates)
            self.refused += account.opened.events if account.opened.whole else len(account.refused)


def opened_account(message: Message, registry: Registry) -> Account:
    """A message taken apart, with what is refused already."""
    opened = open_batch(message.body)
    fault = registry.refuses(subjects.publisher_of(message.subject), bool(opened.import_id))
    if fault and not opened.whole:
        opened = Opened(opened.events, whole=fault)
    return Account(message, opened, refused=list(opened.refused))


def normaliser_of(settings: IngestSettings) -> Normaliser:
    """The tenant's rules of identifiers."""
    return Normaliser(settings.phone_country, settings.blocked_values, settings.blocked_patterns)


def warm() -> None:
    """Compiles every kernel of the core, or reads it from the cache."""
    core = IngestCore(IngestSettings(orders_max=1))
    core.step([Message(0, "", 1, 1, sample_batch())], 1)
    core.step([Message(0, "", 2, 1, sample_batch("order_created"))], 1)
    core.step([Message(0, "", 3, 1, sample_batch("order_paid"))], 1)
    core.load({name: memoryview(bytes(one)) for name, one in core.dump().items()})
    seen.warm()


def sample_batch(event_type: str = "warm") -> bytes:
    """An EventBatch whose one event takes every road through the kernels."""
    event = Event(event_id=event_type, type=event_type, occur_time_us=1, identifiers=[_NOBODY])
    event.properties.add(key="order_id", text="b")
    event.properties.add(key="total", number=0.5)
    event.properties.add(key="lines.product_id", whole=1)
    return bytes(EventBatch(events=[event]).SerializeToString())


def _note_exceptions(holding: list[Account], checked: Checked, known: np.ndarray) -> None:
    """Writes refusals, duplicates and identifiers left out into the accounts of their messages."""
    rows = checked.rows
    messages = rows.events[:, at_.MESSAGE]
    firsts = np.searchsorted(messages, np.arange(len(holding)))
    for row in np.flatnonzero(checked.faults).tolist():
        account = holding[int(messages[row])]
        place = account.opened.place(row - int(firsts[messages[row]]))
        fault = Fault(int(checked.faults[row]))
        account.refused.append((place, rows.event_id(row), fault, rows.event(row)))
        if row in checked.named:
            account.named[place] = checked.named[row]
    duplicates = set(known.tolist())
    for row in sorted(duplicates):
        account = holding[int(messages[row])]
        place = account.opened.place(row - int(firsts[messages[row]]))
        account.duplicates.append((place, rows.event_id(row)))
    missing: dict[int, list[tuple[int, str]]] = {}
    for row, identifier, code in checked.left_out:
        if not checked.faults[row] and row not in duplicates:
            missing.setdefault(row, []).append((identifier, code))
    for row, codes in missing.items():
        account = holding[int(messages[row])]
        place = account.opened.place(row - int(firsts[messages[row]]))
        account.left_out.append((place, rows.event_id(row), codes))
