"""Keras 3 on tensorgrad: the backend that the real `keras` package trains on.

`from tensorgrad import keras` is Keras itself (see hook.py). The rest has the layout that Keras
means to ask of backends in packages of their own: `ops`, `random`, `rnn`, `trainer`, `optimizer`;
legacy.py gives their names to the versions of today. Functions stand in tables: a name of Keras's,
the function of tensorgrad or the formula made of them, and the rule of its dtype.
"""
