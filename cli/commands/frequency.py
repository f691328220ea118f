"""`muster frequency`: may this message go now?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Strategies: how often, when, on which trigger.")

Strategy = Annotated[str, typer.Argument(help="Such as care.")]


@app.command()
def define(
    file: Annotated[Path, typer.Argument(help="YAML; see examples/strategies.")],
) -> None:
    """Creates a strategy, or a new version of it."""
    from cli.documents import read_message
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.frequency.v1.service_pb2 import DefineStrategyRequest
    from muster.frequency.v1.service_pb2 import Strategy as StrategyMessage
    from services.chassis import clock

    running = stack()
    strategy = read_message(file, StrategyMessage())
    request = DefineStrategyRequest(
        tenant=running.tenant, strategy=strategy, request_id=clock.new_id()
    )
    with calls(running, "frequency") as frequency:
        made = frequency.DefineStrategy(request, timeout=CALL_TIMEOUT_S).strategy
    print(f"{made.strategy_id} v{made.version}")


@app.command()
def show(strategy: Strategy) -> None:
    """One strategy as defined."""
    from cli.output import print_json
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.frequency.v1.service_pb2 import GetStrategyRequest

    running = stack()
    with calls(running, "frequency") as frequency:
        request = GetStrategyRequest(tenant=running.tenant, strategy_id=strategy)
        print_json(frequency.GetStrategy(request, timeout=CALL_TIMEOUT_S).strategy)


@app.command()
def ask(
    strategy: Strategy,
    profile: Annotated[str, typer.Argument(help="p_…")],
    message_type: Annotated[str, typer.Option("--type")] = "promo",
    channel: Annotated[str, typer.Option()] = "email",
    key: Annotated[str | None, typer.Option(help="Idempotency key; random if left out.")] = None,
) -> None:
    """Asks for a place for one message; the answer is a receipt."""
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.frequency.v1.service_pb2 import MessageWish, ReserveMessagesRequest
    from services.chassis import clock

    running = stack()
    wish = MessageWish(
        message_key=key or clock.new_id(),
        profile_id=profile,
        message_type=message_type,
        channel=channel,
    )
    request = ReserveMessagesRequest(tenant=running.tenant, strategy_id=strategy, wishes=[wish])
    with calls(running, "frequency") as frequency:
        for receipt in frequency.ReserveMessages(request, timeout=CALL_TIMEOUT_S).receipts:
            print(describe_receipt(receipt))


def describe_receipt(receipt: Any) -> str:
    """A receipt in one line: decision, the rule that bound, when it may go."""
    from cli.output import moment, word
    from muster.frequency.v1 import facts_pb2

    line = word(facts_pb2.Decision, receipt.decision)
    if receipt.rule:
        line += f" by {receipt.rule} ({receipt.counted} of {receipt.max})"
    if after := moment(receipt.next_allowed_time):
        line += f", possible from {after}"
    if until := moment(receipt.deadline_time):
        line += f", reserved until {until}"
    return f"{line}  key {receipt.message_key}"


@app.command()
def confirm(key: Annotated[str, typer.Argument(help="The message's key.")]) -> None:
    """Permission to send: call it before sending."""
    from cli.output import moment
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.frequency.v1.service_pb2 import ConfirmMessageRequest

    running = stack()
    with calls(running, "frequency") as frequency:
        request = ConfirmMessageRequest(tenant=running.tenant, message_key=key)
        answer = frequency.ConfirmMessage(request, timeout=CALL_TIMEOUT_S)
    again = " (it had been before)" if answer.already_confirmed else ""
    print(f"confirmed at {moment(answer.confirm_time)}{again}")


@app.command()
def report(strategy: Strategy) -> None:
    """Asked, allowed, deferred, denied, by rule."""
    from cli.output import number, print_table
    from cli.running import CALL_TIMEOUT_S, calls, stack
    from muster.frequency.v1.service_pb2 import GetFrequencyReportRequest

    running = stack()
    with calls(running, "frequency") as frequency:
        request = GetFrequencyReportRequest(tenant=running.tenant, strategy_id=strategy)
        answer = frequency.GetFrequencyReport(request, timeout=CALL_TIMEOUT_S)
    names = ("asked", "allowed", "deferred", "denied", "confirmed")
    rows = [[name, number(getattr(answer, name))] for name in names]
    rows += [[f"by {rule}", number(n)] for rule, n in sorted(answer.by_rule.items())]
    print_table(["", "messages"], rows)
