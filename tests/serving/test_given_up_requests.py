"""Requests whose clients leave, or whose time is over: their work ends, and its place is free for the next one."""

import socket
import threading
import time

import numpy as np
import pytest
from quick_predictors import Brightness
from serving_samples import BOUNDARY, make_form, noise, png, run_server

from keras_lnn.saved.predictor import KerasPredictor
from keras_lnn.serving.limits import Deadline, Limits, Refused
from keras_lnn.serving.model_thread import ModelThread
from keras_lnn.serving.readers import Readers
from keras_lnn.serving.service import Service

SOON = 60.0


class HeldNetwork:
    """A network that counts its batches, and computes none before it is let go."""

    run_eagerly = True

    def __init__(self):
        self.batches, self.begun, self.go = 0, threading.Event(), threading.Event()

    def predict_on_batch(self, images):
        self.batches += 1
        self.begun.set()
        self.go.wait(SOON)
        return np.zeros((len(images), 2), np.float32)


class Explainable(KerasPredictor):
    """Predicts at once, and is explained by a network that is held."""

    def __init__(self):
        quick = Brightness("dark", "bright")
        super().__init__(HeldNetwork(), quick.signature)
        self.predict = quick.predict


@pytest.fixture(scope="module")
def readers():
    found = Readers(Limits(), 1)
    yield found
    found.stop()


def wait_until(is_true):
    until = time.monotonic() + SOON
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.01)


def leave(port, network, **fields):
    """Sends a request, and closes its connection once the network computes."""
    body = make_form({"a.png": png(noise())}, fields)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=SOON) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert network.begun.wait(SOON)


def test_a_map_ends_when_its_client_leaves(readers):
    predictor = Explainable()
    with run_server(Service(predictor, "held", Limits(timeout_seconds=SOON, parallel=1), readers)) as running:
        leave(running.port, predictor.model, map="true")
        # The request is over while its map still computes a batch.
        wait_until(lambda: list(running.folder.iterdir()) == [])
        predictor.model.go.set()
        assert running.post({"a.png": png(noise())}).status == 200
        assert predictor.model.batches == 1


def test_a_map_ends_when_its_time_is_over(readers):
    predictor = Explainable()
    with run_server(Service(predictor, "held", Limits(timeout_seconds=1.0, parallel=1), readers)) as running:
        answer = running.post({"a.png": png(noise())}, map="true")
        assert answer.status == 504
        predictor.model.go.set()
        assert running.service.model.call(lambda: "free", Deadline(SOON)) == "free"
        assert predictor.model.batches == 1


def test_what_waits_for_a_thread_or_a_reader_ends_once_it_is_given_up(readers):
    deadline, started = Deadline(SOON), threading.Event()
    thread = ModelThread(Brightness("dark", "bright"))

    def work_until_given_up():
        started.set()
        while True:
            deadline.remaining()

    def give_up():
        started.wait(SOON)
        deadline.give_up()

    threading.Thread(target=give_up).start()
    with pytest.raises(Refused, match="whose client has left"):
        thread.call(work_until_given_up, deadline)
    assert thread.call(lambda: "free", Deadline(SOON)) == "free"
    with pytest.raises(Refused, match="whose client has left"):
        readers.obey({}, deadline)
    thread.stop()
