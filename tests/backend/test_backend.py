"""Functions that depend on the backend."""

import logging

from keras_lnn.backend.programs import using_many_models


def test_many_models_bring_no_warning_of_retracing_and_all_others(caplog):
    logger = logging.getLogger("tensorflow")
    for inside in (True, False):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "tensorflow"):
            logger.propagate = True
            if inside:
                with using_many_models():
                    logger.warning("5 calls triggered tf.function retracing.")
                    logger.warning("Another warning.")
            else:
                logger.warning("5 calls triggered tf.function retracing.")
        assert caplog.messages == ["Another warning." if inside else "5 calls triggered tf.function retracing."]
