"""The connections between the hosts of a run, here threads of one process."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from keras_lnn.errors import InputError
from keras_lnn.hosts.joining import Hosts
from keras_lnn.hosts.link import HostLink
from keras_lnn.hosts.place import Place

SECONDS = 20.0


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def run_hosts(places: list[Place], work: Callable[[Hosts], Any], wait: float = SECONDS) -> list[Any]:
    """Returns for each host what it did: the result of its work, or the message of an error."""
    found: list[Any] = [None] * len(places)

    def run(number: int, place: Place) -> None:
        try:
            link = HostLink(place, wait, end=lambda line: None)
            found[number] = work(Hosts(place.count, place.rank, link))
            link.close()
        except InputError as error:
            found[number] = str(error)

    threads = [threading.Thread(target=run, args=given) for given in enumerate(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SECONDS)
    return found


def places_of(count: int) -> list[Place]:
    port = free_port()
    return [Place(count, rank, "127.0.0.1", port) for rank in range(count)]


def test_all_hosts_get_the_values_of_host_0():
    values = [{"loss": 0.1 + 0.2, "none": None}, "text", [float("inf")]]
    found = run_hosts(places_of(3), lambda hosts: [hosts.share(value if hosts.is_first else 0) for value in values])
    assert found == [values] * 3


def test_host_0_gathers_the_values_of_all_by_rank():
    found = run_hosts(places_of(3), lambda hosts: hosts.link.gather(hosts.rank * 10))
    assert found == [[0, 10, 20], [], []]


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_all_hosts_report_in_what_one_differs(odd):
    def work(hosts: Hosts) -> None:
        hosts.require_same({"code": "a", "--epochs": 5 if hosts.rank == odd else 4})

    values = "5 on host 0 and 4 on host 1" if odd == 0 else f"4 on host 0 and 5 on host {odd}"
    found = run_hosts(places_of(3), work)
    assert all(f"the same --epochs. Received: {values}." in message for message in found), found


def test_a_fact_that_one_host_lacks_differs():
    found = run_hosts(places_of(2), lambda hosts: hosts.require_same({"--resume": "run"} if hosts.rank else {}))
    assert all("the same --resume. Received: None on host 0 and run on host 1." in message for message in found), found


@pytest.mark.parametrize(
    ("count", "rank", "message"),
    [
        (3, 1, "--hosts must be the same on each host. Received: 2 on host 0 and 3 on host 1."),
        (2, 0, "must be free on host 0"),
    ],
    ids=["count", "rank"],
)
def test_places_that_do_not_fit_are_reported_by_both(count, rank, message):
    first = places_of(2)[0]
    found = run_hosts([first, Place(count, rank, first.address, first.port)], lambda hosts: None, wait=0.5)
    assert any(message in str(line) for line in found), found
    assert all(found)


def test_two_hosts_of_one_rank_are_reported():
    first, second, _ = places_of(3)
    found = run_hosts([first, second, second], lambda hosts: None)
    assert all("another number on each host. Received: 1 on two of them" in message for message in found), found


@pytest.mark.parametrize(
    ("rank", "message"), [(0, "Received: no host 1. Start"), (1, "Host 0 must be reached within 0.3 s. Received: 127")]
)
def test_a_host_that_does_not_come_is_reported(rank, message):
    (found,) = run_hosts([places_of(2)[rank]], lambda hosts: None, wait=0.3)
    assert message in found


def test_a_stranger_is_no_host():
    places = places_of(2)

    def knock() -> None:
        for _ in range(200):
            with contextlib.suppress(OSError):
                with socket.create_connection((places[0].address, places[0].port)) as stranger:
                    stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                return

    stranger = threading.Thread(target=knock)
    stranger.start()
    assert run_hosts(places, lambda hosts: hosts.share(7)) == [7, 7]
    stranger.join()


@contextlib.contextmanager
def link_hosts(count: int) -> Generator[tuple[list[HostLink], list[queue.SimpleQueue]]]:
    """Yields connected hosts, and for each the lines with which it would have ended."""
    lines = [queue.SimpleQueue() for _ in range(count)]
    links: list[Any] = [None] * count

    def run(place: Place) -> None:
        links[place.rank] = HostLink(place, SECONDS, lines[place.rank].put)

    threads = [threading.Thread(target=run, args=(place,)) for place in places_of(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield links, lines
    for link in links:
        link.close()


@pytest.mark.parametrize("lost", [0, 1])
def test_all_others_end_when_a_host_is_lost(lost):
    with link_hosts(3) as (links, lines):
        links[lost]._closed.set()  # a process that was killed says nothing itself
        links[lost]._disconnect()  # as the system does with the connections of such a process
        for rank in {0, 1, 2} - {lost}:
            expected = (
                f"The run needs all of its hosts. Received: host {lost} was lost. Start the command with --resume"
            )
            assert lines[rank].get(timeout=SECONDS).startswith(expected)


@pytest.mark.parametrize("failed", [0, 2])
def test_all_others_end_with_the_reason_of_a_host_that_fails(failed):
    with link_hosts(3) as (links, lines):
        links[failed].fail("the disk is full")
        assert [lines[rank].get(timeout=SECONDS) for rank in {0, 1, 2} - {failed}] == ["the disk is full"] * 2


def test_hosts_that_parted_do_not_end_each_other():
    with link_hosts(2) as (links, lines):
        for link in links:
            link.close()
            link.fail("too late")
            assert not link.is_open
        assert all(found.empty() for found in lines)
