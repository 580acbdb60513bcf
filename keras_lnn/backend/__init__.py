"""All that depends on the Keras backend and the machine: compiled programs, loops, gradients, devices, seeds."""
