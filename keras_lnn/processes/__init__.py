"""Work in processes of its own: started once with Keras loaded, limited in time and memory, killed with its children.

It knows nothing of training; studies and searches give it what to run.
"""
