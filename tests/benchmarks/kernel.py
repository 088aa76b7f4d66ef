"""How fast a Room receives messages: ``python tests/benchmarks/kernel.py [--burst 20000]``.

A ``Room`` as in a notebook runs on one core, a bqserver and a member that sends a burst on the other. Measures the
time from the start of the burst until ``room.messages`` holds its last message, with 1,000 and with 100,000 messages
kept, and the CPU of the room's process per message.

Checks that every burst arrives complete and in order. Needs Linux and ``taskset``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection

from scale import Member, running

from bqwidget import Room

KEPT = (1_000, 100_000)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a Room receives messages.")
    parser.add_argument("--burst", type=int, default=20_000, help="messages (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    costs = [measure(kept, options.burst, options.rounds) for kept in KEPT]
    print(f"CPU per message with {KEPT[1]:,} kept: {costs[1] / costs[0]:.2f} times that with {KEPT[0]:,}")


def measure(kept: int, burst: int, rounds: int) -> float:
    """Returns the median CPU of this process per message, in seconds."""
    with running() as (port, _), Room("burst", "ada", keep=kept, url=f"http://127.0.0.1:{port}") as room:
        room.wait_open(20)
        sender, commands = start_sender(port)
        for start in range(0, kept, burst):  # fill the list before measuring
            receive(room, commands, min(burst, kept - start))
        rates, costs = [], []
        for _ in range(rounds):
            started, cpu = time.perf_counter(), time.process_time()
            receive(room, commands, burst)
            rates.append(burst / (time.perf_counter() - started))
            costs.append((time.process_time() - cpu) / burst)
        commands.send(0)
        sender.join()
    print(
        f"{kept:>7,} kept: {statistics.median(rates):,.0f} messages/s into room.messages "
        f"({min(rates):,.0f} to {max(rates):,.0f}), {1e6 * statistics.median(costs):.1f} us CPU per message"
    )
    return statistics.median(costs)


def receive(room: Room, commands: Connection, count: int) -> None:
    first = room.messages[-1].seq + 1 if room.messages else 1
    last = first + count - 1
    commands.send(count)
    room.wait_for(lambda message: message.seq == last, after=last - 1, timeout=120)
    seqs = [message.seq for message in room.messages[-min(count, room.keep) :]]
    if seqs != list(range(last - len(seqs) + 1, last + 1)):
        sys.exit("a message is missing, duplicated or out of order")


def start_sender(port: int) -> tuple[multiprocessing.Process, Connection]:
    """Start a process that sends the number of messages in each command, until the command is 0."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=run_sender, args=(port, theirs), daemon=True)
    process.start()
    return process, ours


def run_sender(port: int, commands: Connection) -> None:
    os.sched_setaffinity(0, {0})
    member = Member(port, "burst")
    while count := commands.recv():
        member.send(*[f"message {number}" for number in range(count)])
        received = 0
        while received < count:
            received += member.read()


if __name__ == "__main__":
    main()
